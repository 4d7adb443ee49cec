"""Shows that a session never grows: `python -m tools.bench.long CLIP`.

A clip is looped for many steps while objects are added by box, click and mask, corrected on past
frames, removed, relabelled and reset all along, and a snapshot is saved and read now and then. What
counts is resident memory after a tenth of the steps and at the end. The model is pico with a
smaller input, so that it takes an hour in place of a night: sizes shrink, the code is the same.
"""

import argparse
import gc
import itertools
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streams.source import open_source
from tracker.engine import Policy, Session
from tracker.models import Model
from tracker.models.checkpoints import checkpoint_path
from tracker.models.faster import speed_up
from tracker.models.load import choose_dtype
from tracker.models.pico import build_pico, read_pico_config
from tracker.models.registry import find_spec
from tracker.models.state import load_strictly, read_state
from tracker.process import prepare_process
from tracker.types import Prompt

RESULT = Path(__file__).parent / "results" / "long.md"
WIDTH, HEIGHT = 320, 180
MOST_OBJECTS = 4
COMMAND_EVERY = 10
SNAPSHOT_EVERY = 1000
POLICY = Policy(max_objects=MOST_OBJECTS, history_frames=20, lost_after=10)


def main() -> int:
    """Run, write the result and return 1 where memory grew by more than allowed."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.long", description=__doc__)
    parser.add_argument("clip", type=Path, help="a video, looped as often as it takes")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=128, help="side of the network's input")
    parser.add_argument("--within-mb", type=float, default=20.0, help="allowed growth")
    parser.add_argument("--out", type=Path, default=RESULT, help="the result, as Markdown")
    args = parser.parse_args()
    prepare_process()
    soak = Soak(Session(shrunken_pico(args.size), POLICY))
    samples = run(soak, looped(args.clip), args.steps)
    early, late = samples[len(samples) // 10 - 1].resident_mb, samples[-1].resident_mb
    args.out.write_text(markdown(args, soak, samples))
    print(args.out.read_text())
    return int(late - early > args.within_mb)


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory after a number of steps, with the time taken so far."""

    step: int
    resident_mb: float
    bank_mb: float
    seconds: float


@dataclass
class Soak:
    """A session and the commands that it is given; the same on every run."""

    session: Session
    random: Random = field(default_factory=lambda: Random(0))
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    counts: dict[str, int] = field(default_factory=dict)

    def command(self) -> None:
        """Give one command of a random kind."""
        ids = self.session.object_ids
        kinds = ["add"] if len(ids) < MOST_OBJECTS else []
        if ids:
            kinds += ["correct", "remove", "relabel", "reset"]
        kind = self.random.choice(kinds)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        some = self.random.choice(ids) if ids else 0
        if kind == "add":
            self.session.prompt(self._prompt(next(self.ids)))
        elif kind == "correct":
            self.session.prompt(self._prompt(some), step=self._past_step())
        elif kind == "remove":
            self.session.remove(some)
        elif kind == "relabel":
            self.session.relabel(some, f"object {self.random.randrange(10**6)}")
        else:
            self.session.reset(some)

    def _past_step(self) -> int:
        seen = self.session.seen
        return self.random.randint(max(seen[0].step, seen[-1].step - 5), seen[-1].step)

    def _prompt(self, object_id: int) -> Prompt:
        width, height = self.random.randint(20, 150), self.random.randint(20, 90)
        x, y = self.random.randrange(WIDTH - width), self.random.randrange(HEIGHT - height)
        kind = self.random.choice(["box", "click", "mask"])
        if kind == "click":
            return Prompt(object_id, ((x + width / 2, y + height / 2),), (1,))
        if kind == "box":
            return Prompt(object_id, box_xyxy=(x, y, x + width, y + height))
        mask_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
        mask_hw[y : y + height, x : x + width] = True
        return Prompt(object_id, mask_hw=mask_hw)


def shrunken_pico(size: int) -> Model:
    """Pico's weights with an input of `size` pixels a side."""
    weights = checkpoint_path(find_spec("pico"))
    config = read_pico_config(weights.with_suffix(".json"))
    config = config.model_copy(update={"input": replace(config.input, size=size)})
    network = build_pico(config)
    load_strictly(network, read_state(weights), path=weights, config=f"pico at {size}")
    network.eval().requires_grad_(False)
    speed_up(network)
    cpu = torch.device("cpu")
    return Model("pico", network, cpu, choose_dtype("auto", cpu), config.input, f"pico-{size}")


def looped(clip: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the clip's frames, small, for ever; decoded again each time."""
    while True:
        with open_source(str(clip)) as source:
            for frame in source:
                small = cv2.resize(frame.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
                yield np.asarray(small, np.uint8)


def run(soak: Soak, frames: Iterator[NDArray[np.uint8]], steps: int) -> list[Sample]:
    """Track; sample resident memory a hundred times, evenly."""
    samples: list[Sample] = []
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        snapshot = Path(folder, "snapshot.safetensors")
        for step in range(1, steps + 1):
            soak.session.step(next(frames))
            if step % COMMAND_EVERY == 0:
                soak.command()
            if step % SNAPSHOT_EVERY == 0:
                soak.session.save(snapshot)
                soak.session = Session.load(snapshot, soak.session.model)
            if step % max(1, steps // 100) == 0:
                gc.collect()
                bank_mb = soak.session.bank.nbytes / 2**20
                samples.append(Sample(step, resident_mb(), bank_mb, time.monotonic() - start_s))
                print(samples[-1], file=sys.stderr, flush=True)
    return samples


def resident_mb() -> float:
    """Resident memory of this process, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this measurement needs Linux's /proc")


def markdown(args: argparse.Namespace, soak: Soak, samples: list[Sample]) -> str:
    """The result as a table of every tenth sample."""
    early, late = samples[len(samples) // 10 - 1], samples[-1]
    commands = ", ".join(f"{count} x {kind}" for kind, count in sorted(soak.counts.items()))
    lines = [
        "# Memory over a long run",
        "",
        f"`python -m tools.bench.long {args.clip.name} --steps {args.steps} --size {args.size}`",
        "",
        f"pico at {args.size} pixels, {soak.session.model.dtype}, torch {torch.__version__}, "
        f"Python {platform.python_version()}; {commands}; a snapshot saved and read every "
        f"{SNAPSHOT_EVERY} steps; {samples[-1].seconds / 60:.0f} minutes.",
        "",
        f"Resident memory after {early.step} steps {early.resident_mb:.1f} MiB, after {late.step} "
        f"{late.resident_mb:.1f} MiB: {late.resident_mb - early.resident_mb:+.1f} MiB, allowed "
        f"{args.within_mb:g}.",
        "",
        "| steps | resident MiB | of that memory bank MiB |",
        "|---:|---:|---:|",
    ]
    tenth = max(1, len(samples) // 10)
    shown = samples[tenth - 1 :: tenth]
    lines += [f"| {s.step} | {s.resident_mb:.1f} | {s.bank_mb:.2f} |" for s in shown]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
