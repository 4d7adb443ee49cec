"""`trackd track`: follow objects through a video and write what was found."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli import (
    export_options,
    finder_options,
    model_options,
    source_address,
    source_options,
)
from tracker.errors import PromptError

# The packages that do the work take seconds to import: only a run imports them.
if TYPE_CHECKING:
    from tracker.annotate.finding import FinderChoice
    from tracker.annotate.pictures import Pictures
    from tracker.annotate.plan import PromptPlan
    from tracker.annotate.run import Annotation

_EXAMPLES = """\
examples:
  trackd track clip.mp4 --box 1:120,80,340,400 --label 1:dog --out tracked.mp4
  trackd track clip.mp4 --point 1:200,150 --point 1:90,40,0 --davis masks --coco masks.json
  trackd track frames/%05d.jpg --mask 1:first.png --box 2:10,10,60,80@25 --davis masks
  trackd track frames --box 1:10,10,60,80@name:00045 --davis masks --coco-frames masks.json
  trackd track frames --masks 00000.png --label 1:dog --davis masks
  trackd track clip.mp4 --prompts prompts.json --start 100 --stop 400 --json
  trackd track clip.mp4 --box 1:120,80,340,400@90 --remove 1@250 --backward --coco masks.json
  trackd track long.mp4 --prompts prompts.json --coco masks.json --resume state
  trackd track clip.mp4 --box 1:120,80,340,400 --project annotations/dog
  trackd track street.mp4 --motion --min-area 0.002 --coco masks.json
  trackd track clip.mp4 --text "cat . dog" --every 50 --segmenter tracker --davis masks

Coordinates are pixels of the source, x to the right, y down. A box holds its left and top edge
and ends before its right and bottom edge. FRAME is a number from 0 (in a folder the place in its
listing, damaged pictures included) or, in a folder, name:NAME with the name of the picture's file,
its suffix or not; without @FRAME a prompt is on the first frame of the range. Options that prompt
the same object on the same frame work together: a box with clicks, several clicks. A prompt for a
known object on a later frame corrects it; after --remove it brings the object back.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "track",
        help="track objects through a video",
        description="Tracks objects through a video from prompts on one frame or several.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_argument(
        "source",
        metavar="SOURCE",
        help="video file, image folder (DIR or DIR/%%05d.jpg), rtsp://, http://, rtmp://, udp://, "
        "rtp:// or tcp:// address, webcam:0, or lavfi:PATTERN; - reads the address from stdin",
    )
    source_address.add_options(parser, source)
    source_options.add_option(parser)
    _add_model_options(parser)
    _add_prompt_options(parser)
    finder_options.add_finders(parser)
    finder_options.add_births(parser)
    _add_output_options(parser)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = model_options.add_options(parser)
    group.add_argument(
        "--policy",
        default="default",
        choices=["default", "no-gallery", "official"],
        help="no-gallery: lost objects are not looked for in the whole picture, and it is not said "
        "how sure it is that an object is still the same; official: masks as the official "
        "predictor gives them on a CPU, holes left and not kept inside the box that prompted them",
    )


def _add_prompt_options(parser: argparse.ArgumentParser) -> None:
    from tracker.cli.prompt_options import (
        BOX_FORM,
        LABEL_FORM,
        MASK_FORM,
        MASKS_FORM,
        POINT_FORM,
        REMOVE_FORM,
    )

    group = parser.add_argument_group("prompts (each repeats)")

    def add(name: str, form: str, text: str) -> None:
        group.add_argument(name, action="append", default=[], metavar=form, help=text)

    add("--box", BOX_FORM, "a box around the object")
    add("--point", POINT_FORM, "a click on the object (1, default) or off it (0)")
    add(
        "--mask",
        MASK_FORM,
        "a PNG of the video's size; nonzero pixels are the object, or those of palette index or "
        "grey value N",
    )
    add("--masks", MASKS_FORM, "a palette or grey PNG: each id in it, 255 left out, is an object")
    add("--label", LABEL_FORM, "the object's name")
    add("--remove", REMOVE_FORM, "the object is gone from this frame on, until a later prompt")
    group.add_argument(
        "--prompts", type=Path, metavar="FILE", help="JSON file; see trackd schema prompts"
    )
    group.add_argument(
        "--segmenter",
        metavar="NAME",
        help="what makes the first mask of an object from its box or points: tracker, one that "
        "trackd models lists, or one of an installed package; without it, prompts go straight to "
        "the tracker",
    )
    group.add_argument(
        "--box-padding",
        type=float,
        default=0.0,
        metavar="P",
        help="share of its size by which a box grows on each side before the segmenter, as 0.05",
    )


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    export_options.add_options(group)
    group.add_argument("--start", type=int, default=0, metavar="F", help="first frame to track")
    group.add_argument("--stop", type=int, metavar="F", help="frame to stop before")
    group.add_argument(
        "--backward",
        action="store_true",
        help="track each object from its first prompt towards the start as well; decodes the "
        "source again, once for every 256 MiB of pictures before the prompts",
    )
    group.add_argument(
        "--resume",
        type=Path,
        metavar="STATE_DIR",
        help="keep results and snapshots in this folder; after an interruption or a crash the same "
        "command goes on from there, with the same output as one that ran through",
    )
    group.add_argument(
        "--project",
        type=Path,
        metavar="DIR",
        help="keep prompts and results as a project, for trackd export and trackd studio; the same "
        "folder with other prompts tracks only from the first frame that they change",
    )
    group.add_argument("--quiet", action="store_true", help="show no progress")
    group.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Track, print the summary and return the exit code.

    Raises:
        TrackdError: Wrong usage, or something that the run needs is missing or broken.
        StreamError: The source cannot be opened or decoded.
    """
    from tracker.cli.failures import INTERRUPTED
    from tracker.cli.interrupt import stop_on_signal
    from tracker.cli.progress import show_progress
    from tracker.cli.summary import summary_text

    if args.project is not None:
        return _run_project(args)
    with (
        _annotation(args).open() as opened,
        stop_on_signal() as stop_asked,
    ):
        summary = opened.run(progress=show_progress(quiet=args.quiet), stop_asked=stop_asked)
    print(summary.as_json() if args.json else summary_text(summary))
    return INTERRUPTED if summary.stopped_early else 0


def _run_project(args: argparse.Namespace) -> int:
    from tracker.cli.export import print_summary
    from tracker.cli.failures import INTERRUPTED
    from tracker.cli.interrupt import stop_on_signal
    from tracker.cli.progress import show_progress
    from tracker.project.run import project_of, run_project

    annotation = _annotation(args)
    project = project_of(annotation, args.project, policy=args.policy)
    with stop_on_signal() as stop_asked:
        summary = run_project(
            project,
            annotation.outputs,
            progress=show_progress(quiet=args.quiet),
            stop_asked=stop_asked,
        )
    print_summary(summary, project.folder, as_json=args.json)
    return INTERRUPTED if summary.stopped_early else 0


def _annotation(args: argparse.Namespace) -> "Annotation":
    """The annotation that the options ask for."""
    from tracker.annotate.outputs import Outputs
    from tracker.annotate.pictures import Pictures
    from tracker.annotate.run import Annotation, ModelChoice
    from tracker.engine import POLICIES

    source = source_address.given(args.source, args)
    options = source_options.given(args.source_options).get("options")
    return Annotation(
        source,
        _plan(args, Pictures.of(source)),
        Outputs.of(
            export_options.given(args), state=args.resume, settings=export_options.settings(args)
        ),
        ModelChoice(args.model, args.checkpoint, args.device, args.dtype, POLICIES[args.policy]),
        args.segmenter,
        args.backward,
        options,
        () if args.prompts is None else (args.prompts,),
        args.box_padding,
        _finder(args),
    )


def _finder(args: argparse.Namespace) -> "FinderChoice | None":
    if not finder_options.asks_for_finder(args):
        return None
    policy = finder_options.birth_policy(args)
    return finder_options.finder_choice(args, every=args.every, policy=policy)


def _plan(args: argparse.Namespace, pictures: "Pictures") -> "PromptPlan":
    """All prompts of the options and of the file."""
    from tracker.annotate.plan import FrameRange, PromptPlan
    from tracker.annotate.prompts_file import FileContent, load_prompts
    from tracker.cli.prompt_options import PromptOptions

    frames = FrameRange(args.start, args.stop)
    options = PromptOptions(
        args.box, args.point, args.mask, args.label, args.remove, args.masks, pictures
    )
    typed = options.prompts(args.start)
    filed = FileContent() if args.prompts is None else load_prompts(args.prompts, pictures)
    ids = [{item.prompt.object_id for item in placed} for placed in (typed, filed.placed)]
    both = ids[0] & ids[1]
    if both:
        raise PromptError(
            f"object {min(both)} is in {args.prompts} and in the options", "keep it in one of them"
        )
    removals = (*options.removed(), *filed.removals)
    finds = finder_options.asks_for_finder(args)
    return PromptPlan((*typed, *filed.placed), frames, removals, finds=finds)
