"""`trackd prompt`: track an object on a live stream, or correct one."""

import argparse
import re
from typing import TYPE_CHECKING, Any

from tracker.cli import connection
from tracker.errors import PromptError, UsageError

if TYPE_CHECKING:
    from tracker.client.calls import NewPlace
    from tracker.protocol.fields import FrameAddress
    from tracker.protocol.replies import PromptResult

_BOX_FORM = "X0,Y0,X1,Y1"
_POINT_FORM = "X,Y[,0|1]"
_LONGEST_WAIT_S = 300.0
_FRAME_FORM = "SEQ|pts:N|captured:NS"
_FRAME = re.compile(r"(?:(?P<kind>pts|captured):)?(?P<value>-?\d{1,19})")
_EXAMPLES = """\
examples:
  trackd prompt cam1 --box 120,80,340,400 --label dog
  trackd prompt cam1 --object 1 --point 200,150 --point 90,40,0
  trackd prompt cam1 --mask first.png --frame 1207
  trackd prompt cam1 --text "red car" --finder text

Coordinates are pixels of the source, x to the right, y down. Without --object the prompt is for a
new object. A number for --frame is the `frame.seq` of a message, as `trackd watch` shows it: what
was drawn there is applied there and tracked on to the newest frame.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "prompt",
        help="track an object on a stream of the daemon",
        description="Tracks an object on a stream of the daemon, or corrects one.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stream", metavar="STREAM", help="a stream of `trackd streams`")
    group = parser.add_argument_group("prompt")
    group.add_argument("--box", metavar=_BOX_FORM, help="a box around the object")
    group.add_argument(
        "--point",
        action="append",
        default=[],
        metavar=_POINT_FORM,
        help="a click on the object (1, default) or off it (0); repeats",
    )
    group.add_argument(
        "--mask",
        metavar="FILE.png[#N]",
        help="of the stream's size; not zero is object, or palette index or grey value N",
    )
    group.add_argument(
        "--text", metavar="WORDS", help="what it is: the best that a finder finds is tracked"
    )
    group.add_argument(
        "--finder", metavar="NAME", help="the finder of --text; the stream's own without"
    )
    group.add_argument("--object", type=int, metavar="ID", help="the object; a new one without")
    group.add_argument("--label", metavar="NAME", help="the object's name")
    add_frame_option(group, "the frame that it was drawn on; newest without")
    group.add_argument(
        "--normalized", action="store_true", help="coordinates are parts of the size, 0..1"
    )
    parser.add_argument(
        "--no-wait",
        action="store_true",
        help="fail where the stream has no frame yet, in place of waiting for it up to --timeout",
    )
    connection.add_json_option(parser)
    connection.add_options(parser)


def add_frame_option(group: "argparse._ArgumentGroup", text: str) -> None:
    """Add `--frame`, which `frame_address` reads."""
    group.add_argument("--frame", metavar=_FRAME_FORM, help=text)


def run(args: argparse.Namespace) -> int:
    """Send the prompt, print what came of it and return the exit code.

    Raises:
        UsageError: An option does not follow its form, or the protocol does not allow a value.
        TrackdError: The daemon refuses, or does not answer.
    """
    place = _place(args)
    with connection.open_client(args) as client:
        result = client.prompt(args.stream, **place)
    print(result.model_dump_json(ensure_ascii=True) if args.json else _line(result))
    return 0


def _place(args: argparse.Namespace) -> "NewPlace":
    place: NewPlace = {
        "object": args.object,
        "label": args.label,
        "text": args.text,
        "finder": args.finder,
        "normalized": args.normalized,
        "frame": None if args.frame is None else frame_address(args.frame),
        "wait_s": 0.0 if args.no_wait else min(_LONGEST_WAIT_S, connection.timeout_s(args)),
    }
    if args.box is not None:
        x0, y0, x1, y1 = _numbers("--box", args.box, _BOX_FORM, (4,))
        place["box"] = (x0, y0, x1, y1)
    if args.point:
        clicks = [_numbers("--point", text, _POINT_FORM, (2, 3)) for text in args.point]
        place["points"] = [(x, y) for x, y, *_ in clicks]
        place["labels"] = [_click_label(rest) for _, _, *rest in clicks]
    if args.mask is not None:
        from tracker.annotate.mask_png import read_mask

        place["mask"] = read_mask(args.mask)
    return place


def frame_address(text: str) -> "int | FrameAddress":
    """The frame that `--frame` names.

    Raises:
        UsageError: It does not follow the form.
    """
    from tracker.protocol.fields import FrameAddress

    match = _FRAME.fullmatch(text)
    if match is None:
        raise UsageError(f"--frame {text} is not {_FRAME_FORM}", "as in --frame 1207")
    value = int(match["value"])
    if match["kind"] == "pts":
        return FrameAddress(pts=value)
    if value < 0:
        raise UsageError(f"--frame {text} is negative", "as in --frame 1207")
    return FrameAddress(captured_ns=value) if match["kind"] else value


def _numbers(option: str, text: str, form: str, lengths: tuple[int, ...]) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in lengths:
        raise PromptError(f"{option} {text} is not {form}", "give coordinates, without spaces")
    return numbers


def _click_label(rest: list[float]) -> int:
    if rest not in ([], [0], [1]):
        raise PromptError(f"a click with label {rest[0]:g}", "use 1 (object) or 0 (not)")
    return int(rest[0]) if rest else 1


def _line(result: "PromptResult") -> str:
    from tracker.cli.objects import line

    news = "new" if result.created else "corrected"
    ahead = f", {result.replayed_frames} frames to the newest" if result.replayed_frames else ""
    return f"{line(result.object)}  ({news}, on frame {result.frame_seq}{ahead})"
