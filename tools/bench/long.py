"""A session never grows: commands of all kinds over a hundred thousand frames.

A clip is looped for many steps while objects are added by box, click and mask, corrected on past
frames, removed, relabelled and reset all along, and a snapshot is saved and read now and then. What
counts is resident memory after a tenth of the steps and at the end; its peak, and the tensors that
are held, with all caches, are shown. The model is pico with a smaller input, or a small network of
another family, so that it takes an hour in place of a night: sizes shrink, the code is the same.
"""

import argparse
import gc
import itertools
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from tools.bench import options as common
from tools.bench.conditions import conditions_of
from tools.bench.footage import Size, find_clip, frames_of
from tools.bench.memory import forget_peak, peak_mib, resident_mib
from tools.bench.models import load
from tools.bench.record import Case, Fact, Footage, Run
from tracker.engine import Policy, Session
from tracker.errors import UsageError
from tracker.types import Prompt

WIDTH, HEIGHT = 320, 180
MOST_OBJECTS = 4
COMMAND_EVERY = 10
SNAPSHOTS = 100
SAMPLED = 10
SAMPLES = 2 * SAMPLED
POLICY = Policy(max_objects=MOST_OBJECTS, history_frames=20, lost_after=10)
HELP = "a session over a hundred thousand frames: memory (two hours)"
QUICK = {"steps": 40, "model": "pico@64", "within_mib": 1000.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser, scaled=False)
    parser.add_argument("--steps", type=common.whole, default=100_000)
    parser.add_argument("--within-mib", type=float, default=20.0, help="allowed growth")
    parser.set_defaults(model="pico@128")


def measure(options: argparse.Namespace) -> Run:
    """Track for long.

    Raises:
        UsageError: Something of what was asked for is not to be had, or the steps are too few.
    """
    if options.steps < SAMPLED:
        raise UsageError(f"{options.steps} steps are too few", f"give at least {SAMPLED}")
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    model, _ = load(options.model, options.device, options.dtype)
    soak = Soak(Session(model, POLICY))
    samples = run(soak, looped(clip), options.steps)
    early, late = samples[len(samples) // SAMPLED - 1], samples[-1]
    grown_mib = late.resident_mib - early.resident_mib
    grew = f"resident memory grew by {grown_mib:.1f} MiB from step {early.step} on"
    return conditions.run(
        suite="long",
        setting=f"{options.model} {conditions.dtype}, {options.steps} steps",
        footage=Footage(clip=clip.name, width=WIDTH, height=HEIGHT, decoding_timed=False),
        facts=(
            Fact(name="growth after a tenth", unit="MiB", value=round(grown_mib, 1)),
            Fact(name="allowed growth", unit="MiB", value=options.within_mib),
            *_memory(samples),
            *(
                Fact(name="commands", case={"kind": kind}, unit="commands", value=count)
                for kind, count in sorted(soak.counts.items())
            ),
        ),
        notes=(f"A snapshot is saved and read every {snapshot_every(options.steps)} steps.",),
        failure=grew if grown_mib > options.within_mib else "",
    )


def _memory(samples: Sequence["Sample"]) -> list[Fact]:
    """Every tenth sample."""
    step = max(1, len(samples) // SAMPLED)
    facts = []
    for sample in samples[step - 1 :: step]:
        case: Case = {"steps": sample.step}
        for name, value in (
            ("resident memory", sample.resident_mib),
            ("its peak", sample.peak_mib),
            ("tensors", sample.tensors_mib),
            ("memory bank", sample.bank_mib),
        ):
            facts.append(Fact(name=name, case=case, unit="MiB", value=round(value, 2)))
        facts.append(Fact(name="objects", case=case, unit="objects", value=sample.objects))
    return facts


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory after a number of steps.

    Attributes:
        step: Steps so far.
        objects: Objects that are tracked.
        resident_mib: Resident memory of the process.
        peak_mib: The most of it since the model was loaded.
        tensors_mib: Tensors that are held: weights, the memory bank, the history and every cache.
        bank_mib: What the memories of the objects take.
    """

    step: int
    objects: int
    resident_mib: float
    peak_mib: float
    tensors_mib: float
    bank_mib: float

    @classmethod
    def of(cls, session: Session, step: int) -> Self:
        """Measure now."""
        gc.collect()
        return cls(
            step,
            len(session.object_ids),
            resident_mib(),
            peak_mib(),
            tensors_mib(),
            session.memory_bytes / 2**20,
        )


def tensors_mib() -> float:
    """Memory of all tensors that Python holds, in MiB; what several share counts once."""
    tensors = (item for item in gc.get_objects() if issubclass(type(item), torch.Tensor))
    storages = (tensor.untyped_storage() for tensor in tensors)
    sizes: dict[int, int] = {one.data_ptr(): one.nbytes() for one in storages}
    return sum(sizes.values()) / 2**20


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
        steps = self.session.steps
        return self.random.choice(steps[-6:])

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


def snapshot_every(steps: int) -> int:
    """Steps from a snapshot to the next; some come before the tenth that growth is counted from."""
    return max(COMMAND_EVERY, steps // SNAPSHOTS)


def looped(clip: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the clip's frames, small, for ever; decoded again each time."""
    while True:
        yield from frames_of(clip, Size(WIDTH, HEIGHT))


def run(soak: Soak, frames: Iterator[NDArray[np.uint8]], steps: int) -> list[Sample]:
    """Track; sample memory `SAMPLES` times, evenly."""
    samples: list[Sample] = []
    forget_peak()
    with tempfile.TemporaryDirectory() as folder:
        snapshot = Path(folder, "snapshot.safetensors")
        for step in range(1, steps + 1):
            soak.session.step(next(frames))
            if step % COMMAND_EVERY == 0:
                soak.command()
            if step % snapshot_every(steps) == 0:
                soak.session.save(snapshot)
                soak.session = Session.load(snapshot, soak.session.model)
            if step % max(1, steps // SAMPLES) == 0:
                samples.append(Sample.of(soak.session, step))
                print(samples[-1], file=sys.stderr, flush=True)
    return samples
