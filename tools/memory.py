"""Shows that tracking a long video takes no more memory than a short one: `python -m tools.memory`.

A clip is looped into a long video, which `trackd track` follows twice, to a short stop and to a
long one, each in a process of its own, while objects are added, corrected and removed; what counts
is the peak resident memory of each, read by itself: what the system tells of a child may be that of
the process that started it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from itertools import chain, islice, repeat
from pathlib import Path

from streams.errors import StreamError
from streams.video_writer import VideoWriter
from tools.bench.footage import Size, find_clip, frames_of
from tools.bench.models import find_weights
from tracker.errors import TrackdError

SIZE, FPS = Size(640, 360), 25
BOX_XYXY, CLICK_XY = (180, 60, 320, 300), (250, 180)
GUEST_XYXY = (380, 120, 520, 300)
#: Frames after which an object is corrected and another comes again; it leaves halfway.
TURN = 20
TRACK_AND_TELL = """
import sys
from tools.bench.memory import peak_mib
from tracker.cli.main import main
code = main(sys.argv[1:])
print(peak_mib())
sys.exit(code)
"""


def main() -> int:
    """Run both, print both peaks, and return 1 where they differ by more than allowed."""
    parser = argparse.ArgumentParser(prog="python -m tools.memory", description=__doc__)
    parser.add_argument("clip", type=Path, help="a video, looped as often as it takes")
    parser.add_argument(
        "--model", default="pico", help="a model, or NAME@small for a small network of its family"
    )
    parser.add_argument("--short", type=int, default=200, help="frames of the short run")
    parser.add_argument("--long", type=int, default=5000, help="frames of the long run")
    parser.add_argument("--within-mib", type=float, default=30.0, help="allowed difference")
    args = parser.parse_args()
    try:
        peaks_mib = measure(args.clip, args.model, (args.short, args.long))
    except (TrackdError, StreamError) as err:
        print(f"memory: error: {' '.join(str(err).split())}", file=sys.stderr)
        return err.exit_code
    difference_mib = peaks_mib[1] - peaks_mib[0]
    print(f"peak after {args.short} frames: {peaks_mib[0]:.1f} MiB")
    print(f"peak after {args.long} frames: {peaks_mib[1]:.1f} MiB")
    print(f"difference: {difference_mib:+.1f} MiB, allowed {args.within_mib:g} MiB")
    return int(difference_mib > args.within_mib)


def measure(clip: Path, model: str, counts: tuple[int, int]) -> list[float]:
    """Peak resident memory, in MiB, of tracking so many frames of a clip that is looped.

    Raises:
        TrackdError: There is no such clip or model, or it could not be tracked.
        StreamError: The clip cannot be read.
    """
    clip, weights = find_clip(clip), find_weights(model).path
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_looped(clip, folder / "looped.mp4", max(counts))
        return [peak_mib_of(model, weights, folder, frames) for frames in counts]


def write_looped(clip: Path, video: Path, frames: int) -> None:
    """Write `frames` frames of a clip that starts over at its end, scaled down."""
    looped = chain.from_iterable(frames_of(path, SIZE) for path in repeat(clip))
    with VideoWriter(video, width=SIZE.width, height=SIZE.height, fps=Fraction(FPS)) as writer:
        for index, image_hwc in enumerate(islice(looped, frames)):
            writer.write(image_hwc, index, Fraction(1, FPS))


def write_prompts(path: Path, frames: int) -> None:
    """Write prompts: object 1 is corrected each turn, object 2 comes and goes each turn."""
    begun, left = range(0, frames, TURN), range(TURN // 2, frames, TURN)
    corrections = [{"frame": frame, "points": [CLICK_XY]} for frame in begun[1:]]
    stays = {"id": 1, "prompts": [{"frame": 0, "box": BOX_XYXY}, *corrections]}
    comes = [{"frame": frame, "box": GUEST_XYXY} for frame in begun]
    guest = {"id": 2, "prompts": comes, "removed_at": list(left)}
    path.write_text(json.dumps({"version": 1, "objects": [stays, guest]}))


def peak_mib_of(model: str, weights: Path, folder: Path, frames: int) -> float:
    """Peak resident memory, in MiB, of `trackd track` over the first `frames` frames.

    Raises:
        TrackdError: It failed; it has said why.
    """
    prompts = folder / "prompts.json"
    write_prompts(prompts, frames)
    words = ["track", str(folder / "looped.mp4"), "--stop", str(frames), "--quiet"]
    words += ["--prompts", str(prompts)]
    words += ["--out", str(folder / "out.mp4"), "--coco", str(folder / "out.json")]
    words += ["--model", model.partition("@")[0], "--checkpoint", str(weights)]
    done = subprocess.run(
        [sys.executable, "-c", TRACK_AND_TELL, *words], stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        raise TrackdError("trackd track failed", "see what it said")
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    raise SystemExit(main())
