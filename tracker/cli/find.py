"""`trackd find`: objects on one picture, by words, classes, motion or everything."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli import (
    connection,
    find_live,
    finder_options,
    model_options,
    prompt,
    source_options,
)
from tracker.cli.printable import printable
from tracker.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.frame import Frame
    from tracker.annotate.finding import FinderChoice
    from tracker.finders.base import Proposal

_SHOWN = 40
_PICTURES = (".png", ".jpg", ".jpeg")
_EXAMPLES = """\
examples:
  trackd find photo.jpg --everything --out found.png
  trackd find photo.jpg --everything --find-set points_per_side=16 --json
  trackd find photo.jpg --text "cat . red car" --find-set model=owlv2-base
  trackd find clip.mp4@120 --detect rt-detr-r18:person,dog --json
  trackd find street.mp4@300 --motion --out moving.jpg
  trackd find cam1 --live --text "red car" --json

Scores are 0 to 1; boxes are x0,y0,x1,y1 in pixels. --motion reads the video from its start.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "find",
        help="find objects on a picture",
        description="Finds objects on a picture, on a frame of a video or, with --live, of a "
        "stream of the daemon, without tracking them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source",
        metavar="IMAGE|CLIP@FRAME|STREAM",
        help="the first frame without @FRAME; with --live a stream of `trackd streams`",
    )
    source_options.add_option(parser)
    finder_options.add_finders(parser)
    parser.add_argument("--min-score", type=float, default=0.0, metavar="P", help="least score")
    model_options.add_options(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print JSON, masks as COCO RLE")
    group.add_argument("--out", type=Path, metavar="FILE.png", help="draw what is found")
    group = parser.add_argument_group("live")
    group.add_argument(
        "--live",
        action="store_true",
        help="ask the daemon; without a finder that of the stream",
    )
    prompt.add_frame_option(group, "the frame; newest without")
    connection.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Find, print and draw; 0 whether something is found or not.

    Raises:
        TrackdError: Wrong usage, or something that is needed is missing or broken.
        StreamError: The source cannot be opened or decoded.
    """
    if not 0 <= args.min_score <= 1:
        raise UsageError(f"--min-score {args.min_score:g}", "give a number from 0 to 1")
    if args.live:
        return find_live.run(args)
    if args.frame is not None:
        raise UsageError("--frame without --live", "name a frame of a video as CLIP@FRAME")
    if not finder_options.asks_for_finder(args):
        raise UsageError("nothing to find", "add --text, --everything, --motion or --detect")
    _check_out(args.out)
    frame, proposals = _found(args, finder_options.finder_choice(args))
    if args.json:
        print(json.dumps({"frame": frame.seq, "proposals": [_as_json(p) for p in proposals]}))
    else:
        print("\n".join(_lines(proposals)))
    if args.out is not None:
        _draw(args.out, frame, proposals)
    return 0


def _found(args: argparse.Namespace, choice: "FinderChoice") -> "tuple[Frame, Sequence[Proposal]]":
    from tracker.annotate.picture import read_picture, split_frame

    options = source_options.given(args.source_options).get("options")
    source, number = split_frame(args.source)
    if choice.spec.every_frame and number == 0:
        raise UsageError(
            f"finder {choice.spec.name} learns from the frames before", "name a later one: CLIP@100"
        )
    finder = choice.make(model_options.load(args))
    try:

        def learn(frame: "Frame") -> None:
            if choice.spec.every_frame:
                finder.find(frame.image, choice.phrases)

        frame = read_picture(source, number, options=options, before=learn)
        found = finder.find(frame.image, choice.phrases)
    finally:
        finder.close()
    return frame, [proposal for proposal in found if proposal.score >= args.min_score]


def _lines(proposals: "Sequence[Proposal]") -> "list[str]":
    """One line for each of the first proposals."""
    lines = [f"{len(proposals)} found"]
    for number, item in enumerate(proposals[:_SHOWN], 1):
        box = ",".join(f"{edge:.0f}" for edge in item.box_xyxy)
        stable = "" if item.stability is None else f"  stability {item.stability:.2f}"
        line = f"{number:4}  {printable(item.label or '-')}  score {item.score:.2f}  box {box}"
        lines.append(f"{line}  area {item.area_px:.0f}{stable}")
    more = len(proposals) - _SHOWN
    return [*lines, f"      and {more} more: see --json"] if more > 0 else lines


def _as_json(item: "Proposal") -> dict[str, Any]:
    from tracker.rle import encode_rle

    record: dict[str, Any] = {
        "box": [round(edge, 2) for edge in item.box_xyxy],
        "score": round(item.score, 5),
        "label": item.label,
        "area": item.area_px,
        "stability": None if item.stability is None else round(item.stability, 5),
        "mask": None,
    }
    if item.mask_hw is not None:
        rle = encode_rle(item.mask_hw)
        record["mask"] = {"size": [rle.height, rle.width], "counts": rle.counts}
    return record


def _check_out(path: Path | None) -> None:
    if path is None:
        return
    if path.suffix.lower() not in _PICTURES:
        raise UsageError(f"--out {path} is no picture", f"end it in {', '.join(_PICTURES)}")
    if not path.parent.is_dir():
        raise OutputError(f"--out {path}: no folder {path.parent}", "make it first")


def _draw(path: Path, frame: "Frame", proposals: "Sequence[Proposal]") -> None:
    from PIL import Image

    from tracker.annotate.draw_proposals import draw_proposals

    try:
        Image.fromarray(draw_proposals(frame.image, proposals)).save(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
