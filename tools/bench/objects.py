"""What one more object costs: `python -m tools.bench.objects CLIP`.

Milliseconds per frame of pico with 1 to 16 objects: ours, ours with one object in a pass, and the
official `SAM2VideoPredictor` with the same weights, frames, prompts and precision. The three take
turns within each round, so that a machine that changes its speed changes it for all; ratios are
medians over the rounds. Each time is that of encoding the frame, tracking, and masks at source
resolution; decoding and writing are left out.
"""

import argparse
import logging
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from sam2.sam2_video_predictor import SAM2VideoPredictor

from streams.source import open_source
from tracker.engine import OFFICIAL, Session
from tracker.engine.memory import MemoryShape
from tracker.models import Model, find_spec, load_model
from tracker.models.checkpoints import checkpoint_path
from tracker.models.official import build_official
from tracker.models.pico import PicoConfig, build_pico, read_pico_config
from tracker.models.state import load_strictly, read_state
from tracker.process import prepare_process
from tracker.types import Prompt

COUNTS = (1, 2, 4, 8, 16)
WARM_UP = 18  # frames until every ring is full
Images = list[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Row:
    """Median milliseconds per frame with a number of objects, and the ratio to official."""

    objects: int
    ours_ms: float
    unbatched_ms: float
    official_ms: float
    official_over_ours: float


def main() -> int:
    """Measure, print the tables, and write them as Markdown where asked."""
    prepare_process()  # for the official predictor too, which gains by it as well
    parser = argparse.ArgumentParser(prog="python -m tools.bench.objects", description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--frames", type=int, default=6, help="timed frames a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", type=Path, help="write the tables to this file")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="sam2")
    logging.getLogger().setLevel(logging.ERROR)
    with open_source(str(args.clip)) as source:
        frames = [np.ascontiguousarray(f.image) for f in islice(source, WARM_UP + args.frames)]
    model = load_model("pico", device="cpu", dtype=args.dtype)
    rows = [measure(model, frames, count, args.rounds) for count in COUNTS]
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.dtype}"
    )
    Console().print(_table(rows))
    text = markdown(rows, args.dtype) + "\n" + bytes_markdown()
    print(bytes_markdown())
    if args.markdown:
        args.markdown.write_text(text)
    return 0


def measure(model: Model, frames: Images, count: int, rounds: int) -> Row:
    """Time all three with `count` objects."""
    prompts = _prompts(frames[0], count)
    # All with the official resizing and policy, so that they do the same work.
    model = replace(model, input=replace(model.input, resize="pil"))
    one_by_one = replace(OFFICIAL, batch_objects=1, history_frames=0)
    times: dict[str, list[float]] = {"ours": [], "unbatched": [], "official": []}
    with tempfile.TemporaryDirectory() as name:
        folder = _save(frames, Path(name))
        predictor = _official()
        for _ in range(rounds):
            times["ours"].append(
                _ours(Session(model, replace(OFFICIAL, history_frames=0)), frames, prompts)
            )
            times["unbatched"].append(_ours(Session(model, one_by_one), frames, prompts))
            with _precision(model):
                times["official"].append(_theirs(predictor, folder, prompts))
    ratios = [b / a for a, b in zip(times["ours"], times["official"], strict=True)]
    medians = {name: statistics.median(values) for name, values in times.items()}
    return Row(
        count,
        medians["ours"],
        medians["unbatched"],
        medians["official"],
        statistics.median(ratios),
    )


def _prompts(frame: NDArray[np.uint8], count: int) -> list[Prompt]:
    """Square masks on a grid, so that every object is something and stays."""
    height, width = frame.shape[:2]
    prompts = []
    for i in range(count):
        mask_hw = np.zeros((height, width), np.bool_)
        y, x = (i // 4) * height // 4, (i % 4) * width // 4
        mask_hw[y + height // 16 : y + height // 5, x + width // 16 : x + width // 5] = True
        prompts.append(Prompt(i + 1, mask_hw=mask_hw))
    return prompts


def _median_ms(steps: Iterator[Callable[[], object]]) -> float:
    times = []
    for step in steps:
        start = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP - 1 :])


def _ours(session: Session, frames: Images, prompts: list[Prompt]) -> float:
    session.step(frames[0])
    for prompt in prompts:
        session.prompt(prompt)
    return _median_ms(partial(session.step, frame) for frame in frames[1:])


def _official() -> SAM2VideoPredictor:
    weights = checkpoint_path(find_spec("pico"))
    predictor = build_pico(_pico_config(), SAM2VideoPredictor).eval()
    load_strictly(predictor, read_state(weights), path=weights, config="pico")
    return predictor


def _pico_config() -> PicoConfig:
    return read_pico_config(checkpoint_path(find_spec("pico")).with_suffix(".json"))


def _theirs(predictor: SAM2VideoPredictor, folder: Path, prompts: list[Prompt]) -> float:
    state = predictor.init_state(str(folder))
    for prompt in prompts:
        predictor.add_new_mask(state, 0, prompt.object_id, prompt.mask_hw)
    steps = predictor.propagate_in_video(state, start_frame_idx=1)
    count = state["num_frames"] - 1
    return _median_ms(partial(next, steps) for _ in range(count))


@contextmanager
def _precision(model: Model) -> Iterator[None]:
    half = model.dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        yield


def _save(frames: Images, folder: Path) -> Path:
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{i:05d}.jpg", quality=95)
    return folder


def _table(rows: list[Row]) -> Table:
    table = Table(
        "objects", "ours ms", "unbatched ms", "official ms", "official / ours", "x 1 object"
    )
    for row in rows:
        table.add_row(*_cells(row, rows[0]))
    return table


def _cells(row: Row, first: Row) -> list[str]:
    return [
        str(row.objects),
        f"{row.ours_ms:.0f}",
        f"{row.unbatched_ms:.0f}",
        f"{row.official_ms:.0f}",
        f"{row.official_over_ours:.2f}",
        f"{row.ours_ms / first.ours_ms:.2f}",
    ]


def markdown(rows: list[Row], dtype: str) -> str:
    """The table of times, with where it was taken."""
    lines = [
        f"pico, {dtype}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}; ms per frame, median of rounds",
        "",
        "| objects | ours | unbatched | official | official / ours | ours / ours with 1 |",
        "|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(_cells(row, rows[0])) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def bytes_markdown() -> str:
    """Memory per object for some models, by the formula of `MemoryShape`.

    Maps are kept in bf16 and pointers in fp32 whatever the precision of the network.
    """
    lines = [
        "Memory per object, KiB, at either precision of the network",
        "",
        "| model | no history | 60 frames of history |",
        "|---|---|---|",
    ]
    networks = {"pico": build_pico(_pico_config())}
    networks |= {n: build_official(find_spec(n)) for n in ("sam2.1-tiny", "sam2.1-large")}
    for name, network in networks.items():
        shapes = [MemoryShape.of(network, prompted=4, history=history) for history in (0, 60)]
        sizes = [f"{shape.bytes_per_object / 1024:.0f}" for shape in shapes]
        lines.append(f"| {name} | {sizes[0]} | {sizes[1]} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
