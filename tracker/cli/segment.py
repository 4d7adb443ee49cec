"""`trackd segment`: masks on one picture from boxes and points."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli import export_options, model_options, source_options
from tracker.errors import UsageError

if TYPE_CHECKING:
    from streams.frame import Frame
    from tracker.annotate.outputs import Outputs
    from tracker.types import Prompt, TrackResult

_EXAMPLES = """\
examples:
  trackd segment photo.jpg --box 1:120,80,340,400 --davis masks
  trackd segment photo.jpg --box 1:120,80,340,400 --segmenter sam-vit-base --coco-frames masks.json
  trackd segment clip.mp4@30 --point 1:200,150 --point 1:90,40,0 --json

Prompts are as in `trackd track`; --davis writes a PNG whose pixels are ids, --coco-frames COCO
instances.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    from tracker.cli.prompt_options import BOX_FORM, LABEL_FORM, POINT_FORM

    parser = subparsers.add_parser(
        "segment",
        help="segment objects on a picture",
        description="Makes masks of objects on a picture or on a frame of a video.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="IMAGE|CLIP@FRAME", help="the first frame without @FRAME")
    source_options.add_option(parser)
    group = parser.add_argument_group("prompts (each repeats)")
    for name, form, text in (
        ("--box", BOX_FORM, "a box around the object"),
        ("--point", POINT_FORM, "a click on the object (1, default) or off it (0)"),
        ("--label", LABEL_FORM, "the object's name"),
    ):
        group.add_argument(name, action="append", default=[], metavar=form, help=text)
    group.add_argument(
        "--segmenter", default="tracker", metavar="NAME", help="tracker (default), or another"
    )
    group.add_argument(
        "--box-padding",
        type=float,
        default=0.0,
        metavar="P",
        help="share of its size by which a box grows on each side before, as 0.05",
    )
    model_options.add_options(parser)
    output = parser.add_argument_group("output")
    export_options.add_options(output)
    output.add_argument("--json", action="store_true", help="print masks as COCO RLE")


def run(args: argparse.Namespace) -> int:
    """Segment and write.

    Raises:
        TrackdError: Wrong usage, or something that is needed is missing or broken.
        StreamError: The source cannot be opened or decoded.
    """
    from tracker.annotate.outputs import Outputs
    from tracker.annotate.picture import read_picture, split_frame

    source, number = split_frame(args.source)
    prompts = _prompts(args, number)
    settings = export_options.settings(args)
    outputs = Outputs.of(export_options.given(args), settings=settings)
    if not args.json and not outputs.exports:
        raise UsageError("no output", "add --davis DIR, --coco-frames FILE.json, --out or --json")
    outputs.check([Path(source)], {prompt.object_id: prompt.label for prompt in prompts})
    options = source_options.given(args.source_options).get("options")
    frame = read_picture(source, number, options=options)
    for prompt in prompts:
        prompt.validate(*frame.image.shape[:2])
    result = _segmented(args, frame, prompts)
    _write(outputs, source, frame, result)
    if args.json:
        print(json.dumps({"frame": frame.seq, "objects": _as_json(result)}))
    return 0


def _prompts(args: argparse.Namespace, number: int) -> "list[Prompt]":
    """One prompt for each object."""
    from tracker.annotate.plan import FrameRange, PromptPlan
    from tracker.cli.prompt_options import PromptOptions

    options = PromptOptions(args.box, args.point, labels=args.label)
    plan = PromptPlan(options.prompts(number), FrameRange(number, number + 1))
    return [item.prompt for item in plan.placed]


def _segmented(args: argparse.Namespace, frame: "Frame", prompts: "list[Prompt]") -> "TrackResult":
    from tracker.annotate.first_masks import FirstMasks
    from tracker.engine import mask_box
    from tracker.segmenters.registry import SEGMENTERS
    from tracker.types import ObjectResult, ObjectState, StageTimes, TrackResult

    spec = SEGMENTERS.find(args.segmenter)
    segmenter = spec.make(model_options.load(args))
    found = FirstMasks(segmenter, spec.name, args.box_padding).segmented(frame.image, prompts)
    objects = []
    for prompt, mask_hw, score in zip(prompts, found.masks_nhw, found.scores_n, strict=True):
        box = mask_box(mask_hw)
        state = ObjectState.LOST if box is None else ObjectState.VISIBLE
        quality = min(1.0, max(0.0, float(score)))
        objects.append(
            ObjectResult(prompt.object_id, prompt.label, state, quality, quality, box, mask_hw)
        )
    return TrackResult(frame.seq, tuple(objects), StageTimes(0.0, 0.0))


def _write(outputs: "Outputs", source: str, frame: "Frame", result: "TrackResult") -> None:
    from contextlib import ExitStack

    from tracker.annotate.source_name import export_source

    outputs.check_size(*frame.image.shape[:2])
    with ExitStack() as stack:
        labels = {item.id: item.label for item in result.objects}
        for writer in outputs.open(export_source(source, None, labels, is_video=False)):
            stack.callback(writer.close)
            writer.write(frame, result)


def _as_json(result: "TrackResult") -> list[dict[str, Any]]:
    from tracker.rle import encode_rle

    records = []
    for item in result.objects:
        rle = encode_rle(item.mask_hw)
        records.append(
            {
                "id": item.id,
                "label": item.label,
                "score": round(item.score, 5),
                "box": item.box_xyxy,
                "mask": {"size": [rle.height, rle.width], "counts": rle.counts},
            }
        )
    return records
