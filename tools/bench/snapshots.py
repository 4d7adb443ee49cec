"""Cost of the snapshots in a recording: `python -m tools.bench.snapshots CLIP`.

For each number of objects, boxes in a grid on the first frame of a clip: the time that taking a
snapshot holds up tracking, its bytes, and those in the file, which another thread compresses.
"""

import argparse
import time
from itertools import islice, product
from pathlib import Path
from statistics import median

import torch
import zstandard

from streams import open_source
from streams.frame import Frame
from tools.bench.machine import describe_machine
from tracker.daemon.config.schema import LimitsConfig, ModelConfig
from tracker.daemon.messages import LiveFrame, PromptCommand
from tracker.daemon.tracking.stream_tracker import StreamTracker
from tracker.daemon.workers.warm import warm_model
from tracker.protocol.fields import StreamSettings

_GRID = 4  # boxes a side


def main() -> int:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.snapshots", description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", default="pico")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--frames", type=int, default=24, help="tracked, each with a snapshot (24)")
    args = parser.parse_args()
    machine = describe_machine(torch.device("cpu"))
    print(f"{args.model}, {machine.cpu}, {machine.cpus} CPUs, {torch.get_num_threads()} threads\n")
    print("| objects | taken, ms | MiB | compressed, ms | MiB in the file |")
    print("|---:|---:|---:|---:|---:|")
    for objects in args.objects:
        print(_row(args.clip, args.model, objects, args.frames), flush=True)
    return 0


def _row(clip: Path, model: str, objects: int, frames: int) -> str:
    """Medians over the second half of the frames, when all memories are full."""
    tracker = _tracker(model)
    samples = []
    with open_source(str(clip), stream="cam") as source:
        for number, frame in enumerate(islice(source, frames)):
            tracker.track(_live(frame), dropped=0)
            if not number:
                _prompt(tracker, objects, *frame.image.shape[:2])
            samples.append(_sample(tracker))
    taken_s, size, compressed_s, packed = map(median, zip(*samples[frames // 2 :], strict=True))
    return (
        f"| {objects} | {1000 * taken_s:.0f} | {size / 2**20:.1f} | {1000 * compressed_s:.0f} "
        f"| {packed / 2**20:.1f} |"
    )


def _tracker(name: str) -> StreamTracker:
    model, policy = warm_model(ModelConfig(name=name), LimitsConfig())
    settings = StreamSettings(url="cam")
    return StreamTracker("cam", settings, model, policy, on_event=lambda event: None)


def _live(frame: Frame) -> LiveFrame:
    now_s = time.monotonic()
    return LiveFrame(frame, None, 0.0, now_s, now_s, None)


def _prompt(tracker: StreamTracker, objects: int, height: int, width: int) -> None:
    cells = islice(product(range(_GRID), range(_GRID)), objects)
    for y, x in cells:
        x0, y0 = x * width / _GRID, y * height / _GRID
        box = (x0, y0, x0 + width / _GRID, y0 + height / _GRID)
        tracker.apply(PromptCommand(object_id=None, box=box))


def _sample(tracker: StreamTracker) -> tuple[float, int, float, int]:
    begun_s = time.perf_counter()
    taken = tracker.snapshot()
    taken_s = time.perf_counter() - begun_s
    assert taken is not None
    begun_s = time.perf_counter()
    packed = zstandard.compress(taken[1])  # as the MCAP library does
    return taken_s, len(taken[1]), time.perf_counter() - begun_s, len(packed)


if __name__ == "__main__":
    raise SystemExit(main())
