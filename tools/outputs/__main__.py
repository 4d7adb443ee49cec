"""Effects, flicker and cost of outputs on masks that were tracked before.

trackd track clip.mp4 --box 1:450,380,702,548 --coco-frames masks.json
python -m tools.outputs effect clip.mp4 masks.json out.mp4 --effect remove
python -m tools.outputs flicker clip.mp4 masks.json
python -m tools.outputs cost clip.mp4 masks.json
"""

import argparse
import json
import tempfile
import time
from fractions import Fraction
from pathlib import Path

from tools.outputs.flicker import flicker
from tools.outputs.recorded import recorded_frames
from tracker.annotate.outputs import Outputs
from tracker.exporters.base import ExportSource, Layout
from tracker.exporters.registry import EXPORTERS


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tools.outputs", description=__doc__)
    parser.add_argument("what", choices=["effect", "flicker", "cost"])
    parser.add_argument("video")
    parser.add_argument("masks", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--effect", action="append", default=[])
    args = parser.parse_args()
    if args.what == "effect":
        suffix = args.out.suffix
        name = "video" if suffix else "png"
        print(f"{write(args.video, args.masks, name, args.out, effect=args.effect):.1f} ms a frame")
    elif args.what == "flicker":
        for way, value in flicker(args.video, args.masks).items():
            print(f"{way:32} {value:.4f}")
    else:
        cost(args.video, args.masks)


def write(video: str, masks: Path, name: str, path: Path, **settings: object) -> float:
    """Write one output, and return its milliseconds a frame, decoding left out."""
    outputs = Outputs.of({name: path}, settings=settings)
    file = Path(video) if Path(video).is_file() else None
    source = ExportSource(Path(video).stem, Fraction(30), _labels(masks), file)
    (writer,) = outputs.open(source)
    spent_s, count = 0.0, 0
    for frame, result in recorded_frames(video, masks):
        begun_s = time.process_time()
        writer.write(frame, result)
        spent_s += time.process_time() - begun_s
        count += 1
    begun_s = time.process_time()
    writer.close()
    return 1000 * (spent_s + time.process_time() - begun_s) / max(count, 1)


def cost(video: str, masks: Path) -> None:
    """Print the milliseconds of processor time a frame of each format and effect."""
    with tempfile.TemporaryDirectory() as folder:
        for spec in EXPORTERS.built_in:
            path = Path(folder) / spec.name
            path = path.with_suffix(spec.suffix) if spec.layout is Layout.FILE else path
            print(f"| {spec.name} | {write(video, masks, spec.name, path):.1f} |", flush=True)
        effects = [
            "blur",
            "pixelate",
            "spotlight",
            "colour-pop",
            "background:navy",
            "remove",
            "crop",
        ]
        for text in effects:
            path = Path(folder) / f"{text.partition(':')[0]}.mp4"
            spent_ms = write(video, masks, "video", path, effect=[text])
            print(f"| video, {text} | {spent_ms:.1f} |", flush=True)
        for suffix in (".mov", ".webm"):
            path = Path(folder) / f"cutout{suffix}"
            spent_ms = write(video, masks, "video", path, effect=["cutout"])
            print(f"| video{suffix}, cutout | {spent_ms:.1f} |", flush=True)


def _labels(masks: Path) -> dict[int, str | None]:
    content = json.loads(masks.read_text(encoding="utf-8"))
    return {annotation["track_id"]: None for annotation in content["annotations"]}


if __name__ == "__main__":
    main()
