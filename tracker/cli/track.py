"""`trackd track`: follow objects through a video and write what was found."""

import argparse
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli import backward, source_address, source_options
from tracker.errors import PromptError, UsageError

# The packages that do the work take seconds to import: only a run imports them.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from streams.frame import Frame
    from streams.sources.registry import Source
    from tracker.annotate.job import Tally
    from tracker.annotate.outputs import Outputs
    from tracker.annotate.pictures import Pictures
    from tracker.annotate.plan import PromptPlan
    from tracker.annotate.run_state import RunState
    from tracker.engine import Policy, Session
    from tracker.models import Model

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
    _add_output_options(parser)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", default="pico", metavar="NAME", help="pico (default), sam2.1-tiny, ..."
    )
    group.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights to load instead")
    group.add_argument("--device", default="auto", help="auto (default), cpu, cuda or mps")
    group.add_argument("--dtype", default="auto", choices=["auto", "fp32", "bf16", "int8"])
    group.add_argument(
        "--policy",
        default="default",
        choices=["default", "official"],
        help="official: masks as the official predictor gives them on a CPU, holes left and not "
        "kept inside the box that prompted them",
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


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--out", type=Path, metavar="OUT.mp4", help="video with the masks drawn")
    group.add_argument(
        "--out-width", type=int, metavar="N", help="scale that video to this even width in pixels"
    )
    group.add_argument(
        "--davis",
        type=Path,
        metavar="DIR",
        help="palette PNGs, pixel = id, named as the pictures of a folder or by frame number",
    )
    group.add_argument(
        "--coco",
        type=Path,
        metavar="FILE.json",
        help="YouTube-VIS style JSON: one annotation per object, with lists over the frames",
    )
    group.add_argument(
        "--coco-frames",
        type=Path,
        metavar="FILE.json",
        help="COCO instances JSON, for pycocotools: each frame an image, each mask an annotation",
    )
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
    group.add_argument("--quiet", action="store_true", help="show no progress")
    group.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Track, print the summary and return the exit code.

    Everything that can be known to be wrong is found before anything is written.

    Raises:
        TrackdError: Wrong usage, or something that the run needs is missing or broken.
        StreamError: The source cannot be opened or decoded.
    """
    from streams import open_source
    from tracker.annotate.first_frame import checked_frames
    from tracker.annotate.outputs import Outputs
    from tracker.annotate.pictures import Pictures
    from tracker.annotate.run_state import RunState

    args.source = source_address.given(args.source, args)
    options = source_options.given(args.source_options)
    if args.backward and args.resume is not None:
        raise UsageError("--backward and --resume do not go together", "leave one out")
    pictures = Pictures.of(args.source)
    plan = _plan(args, pictures)
    state = None if args.resume is None else RunState(args.resume)
    outputs = Outputs(
        args.out, args.davis, args.coco, args.coco_frames, args.resume, args.out_width
    )
    begun = state is not None and state.begun
    outputs.check(_inputs(args), plan.object_ids, begun=begun)
    if args.davis is not None:
        pictures.check_stems(plan.frames)
    # A camera goes on while a model is loaded, and its pictures would seem to come all at once.
    loaded = open_session(args) if _may_be_live(args.source) else None
    with open_source(args.source, **options) as source, ExitStack() as stack:
        coming = _coming(stack, source)
        backward.check(args, source)
        plan.check_range(source.info.frame_count)
        frames = checked_frames(coming, plan, outputs)
        pictures.check_prompted(plan)
        loaded = loaded or open_session(args)
        return _track(args, loaded, source, frames, plan, outputs, state, len(pictures.paths))


def open_session(args: argparse.Namespace) -> "tuple[Model, Session]":
    """Load the model that the options name and start a session with it."""
    from tracker.engine import POLICIES, Session
    from tracker.helper import helper_thread
    from tracker.models import load_model

    model = load_model(args.model, checkpoint=args.checkpoint, device=args.device, dtype=args.dtype)
    # Prompts come with their own frame here, so there is no past one to go back to.
    policy = replace(POLICIES[args.policy], history_frames=0)
    return model, Session(model, policy, helper=helper_thread())


def _may_be_live(source: str) -> bool:
    """Whether a source may go on by itself, which only an open one tells for sure."""
    from streams.address import SourceKind, parse_address

    return parse_address(source).kind in (SourceKind.NETWORK, SourceKind.CAMERA)


def _coming(stack: ExitStack, source: "Source") -> "Iterable[Frame]":
    """The frames of a source; those of a live one are read when they come."""
    from tracker.annotate.live_frames import LiveFrames

    if not source.info.live:
        return source
    frame_bytes = source.info.width * source.info.height * 3
    return stack.enter_context(LiveFrames(source, frame_bytes=frame_bytes))


def _track(
    args: argparse.Namespace,
    loaded: "tuple[Model, Session]",
    source: "Source",
    frames: "Iterator[Frame]",
    plan: "PromptPlan",
    outputs: "Outputs",
    state: "RunState | None",
    picture_count: int,
) -> int:
    from tracker.annotate.backward import MergedTracker
    from tracker.annotate.job import Job
    from tracker.annotate.read_ahead import read_ahead
    from tracker.annotate.source_name import source_name
    from tracker.annotate.trackers import FrameTracker, PlanTracker
    from tracker.cli.failures import INTERRUPTED
    from tracker.cli.interrupt import stop_on_signal
    from tracker.cli.progress import show_progress
    from tracker.cli.recording import describe, record
    from tracker.cli.summary import summarize

    model, session = loaded
    _check_policy(plan, session.policy)
    tracker: FrameTracker = PlanTracker(session, plan)
    recorded, back, resumed_at = None, None, 0

    def doing(tally: "Tally") -> str:
        return "replay" if (tally.last_frame or 0) < resumed_at else "frame"

    with ExitStack() as stack:
        stop_asked = stack.enter_context(stop_on_signal())
        if state is not None:
            description = describe(args, source, model, session, plan, outputs)
            tracker = recorded = record(stack, state, description, model, session, plan)
            resumed_at = recorded.resumed_at
        if args.backward:
            back = backward.track_back(args, model, session.policy, plan, stop_asked)
            stack.callback(back.results.close)
            tracker = MergedTracker(tracker, back.results, plan)
        writers = outputs.open(source_name(args.source), source.info.fps)
        job = Job(tracker, plan, writers, picture_count)
        total = plan.frames.count(source.info.frame_count)
        adjust_threads = _thread_adjustment(model, live=source.info.live)
        with show_progress(total, quiet=args.quiet, doing=doing) as show:

            def on_frame(tally: "Tally") -> None:
                show(tally)
                adjust_threads()

            taken = frames if source.info.live else read_ahead(frames, session)
            tally = job.run(taken, on_frame=on_frame, stop_asked=stop_asked)
        if recorded is not None:
            recorded.end(stopped_early=tally.stopped_early)
    replayed = 0 if recorded is None else recorded.replayed
    frames_back = 0 if back is None else back.tally.frames
    summary = summarize(
        tally, model, plan, outputs, source, replayed=replayed, backward=frames_back
    )
    print(summary.as_json() if args.json else summary.as_text())
    return INTERRUPTED if tally.stopped_early else 0


def _thread_adjustment(model: "Model", *, live: bool) -> "Callable[[], None]":
    """Share the processors out with other programs; return what to call between frames.

    A file is to give the same bytes on every run. Where these depend on the number of threads, that
    number must stay: where there are two, each has a work of its own (a frame that is tracked, and
    the next one that is encoded), and neither waits for the other.
    """
    import torch

    from tracker.processors import ThreadGovernor

    if live or not model.depends_on_threads:
        return ThreadGovernor().adjust
    if torch.get_num_threads() == 2:
        torch.set_num_threads(1)
    return lambda: None


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
    return PromptPlan((*typed, *filed.placed), frames, removals)


def _check_policy(plan: "PromptPlan", policy: "Policy") -> None:
    objects = plan.most_at_once
    if objects > policy.max_objects:
        raise PromptError(
            f"{objects} objects are prompted, a session tracks {policy.max_objects}",
            "track them in several runs",
        )
    for item in plan.placed:
        prompt = item.prompt
        clicks = len(prompt.points_xy) + (0 if prompt.box_xyxy is None else 2)
        if clicks > policy.max_points:
            raise PromptError(
                f"object {prompt.object_id} has {clicks} clicks on frame {item.frame}",
                f"use at most {policy.max_points}, a box counts as two; a mask says more",
            )


def _inputs(args: argparse.Namespace) -> list[Path]:
    """The files and folders that the run reads and must not write."""
    from streams.address import SourceKind, parse_address
    from streams.sources.images import images_folder

    inputs = [] if args.prompts is None else [args.prompts]
    address = parse_address(args.source)
    if address.kind is SourceKind.PATH:
        path = Path(address.location)
        inputs.append(images_folder(path) or path)
    return inputs
