"""Shows that tracking a long video takes no more memory than a short one: `python -m tools.memory`.

A clip is looped into a long video, which `trackd track` follows twice, to a short stop and to a
long one, each in a process of its own; what counts is the peak resident memory of each.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from streams.sources.registry import open_source
from streams.video_writer import VideoWriter
from tools.bench.models import find_weights

WIDTH, HEIGHT, FPS = 640, 360, 25
BOX_XYXY = (180, 60, 320, 300)


def main() -> int:
    """Run both, print both peaks, and return 1 where they differ by more than allowed."""
    parser = argparse.ArgumentParser(prog="python -m tools.memory", description=__doc__)
    parser.add_argument("clip", type=Path, help="a video, looped as often as it takes")
    parser.add_argument(
        "--model", default="pico", help="a model, or NAME@small for a small network of its family"
    )
    parser.add_argument("--short", type=int, default=200, help="frames of the short run")
    parser.add_argument("--long", type=int, default=5000, help="frames of the long run")
    parser.add_argument("--within-mb", type=float, default=30.0, help="allowed difference")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder, "looped.mp4")
        write_looped(args.clip, video, args.long)
        counts = (args.short, args.long)
        peaks_mb = [peak_mb(args.model, video, frames, Path(folder)) for frames in counts]
    difference_mb = peaks_mb[1] - peaks_mb[0]
    print(f"peak after {args.short} frames: {peaks_mb[0]:.1f} MB")
    print(f"peak after {args.long} frames: {peaks_mb[1]:.1f} MB")
    print(f"difference: {difference_mb:+.1f} MB, allowed {args.within_mb:g} MB")
    return int(difference_mb > args.within_mb)


def write_looped(clip: Path, video: Path, frames: int) -> None:
    """Write `frames` frames of a clip that starts over at its end, scaled down."""
    written = 0
    with VideoWriter(video, width=WIDTH, height=HEIGHT, fps=Fraction(FPS)) as writer:
        while written < frames:
            with open_source(str(clip)) as source:
                for frame in source:
                    small = cv2.resize(frame.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
                    writer.write(np.asarray(small, np.uint8), written, Fraction(1, FPS))
                    written += 1
                    if written == frames:
                        break


def peak_mb(model: str, video: Path, frames: int, folder: Path) -> float:
    """Peak resident memory, in megabytes, of `trackd track` over the first `frames` frames."""
    outputs = ["--out", str(folder / "out.mp4"), "--coco", str(folder / "out.json")]
    box = ",".join(str(edge) for edge in BOX_XYXY)
    command = ["-m", "tracker.cli.main", "track", str(video), "--box", f"1:{box}", *outputs]
    command += ["--model", model.partition("@")[0], "--checkpoint", str(find_weights(model).path)]
    process = subprocess.Popen([sys.executable, *command, "--stop", str(frames), "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"trackd track ended with status {status}")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    raise SystemExit(main())
