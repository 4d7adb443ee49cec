"""`trackd streams`: the sources that the daemon tracks on."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tracker.cli import connection, source_address, source_options
from tracker.cli.printable import printable
from tracker.cli.terminal import cells, make_console

if TYPE_CHECKING:
    from rich.table import Table

    from tracker.client import Client
    from tracker.client.calls import StreamOptions
    from tracker.protocol.fields import DeadlineSettings, FindSettings, RecordSettings
    from tracker.protocol.replies import ChangeResult, FindingInfo, StreamInfo

_OPEN, _STALL = "open_timeout_s", "stall_timeout_s"
_OPTIONS = (
    *("policy", "realtime", "loop", "encoding", _OPEN, _STALL, "deadline"),
    *("find", "record"),
)
_EXAMPLES = """\
examples:
  trackd streams add cam1 --url-file cam1.url
  trackd streams add clip ./clip.mp4 --realtime --loop
  trackd streams add cam2 --url-env CAM2_URL --deadline fps=15
  trackd streams add yard ./yard.mp4 --realtime --find motion
  trackd streams add cam3 rtsp://10.0.0.7/main --source-option rtsp_transport=udp
  trackd streams add cam4 --url-file cam4.url --record /srv/recordings
  trackd streams pause cam1
  trackd streams record cam4 off
  trackd streams --json
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command and its actions to `trackd`."""
    parser = subparsers.add_parser(
        "streams",
        help="list, add, remove, pause, resume or record the daemon's sources",
        description="Shows the sources that the daemon tracks on, and changes them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    connection.add_json_option(parser)
    connection.add_options(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        action: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=f"{text}.".capitalize()
        )
        connection.add_json_option(action, again=True)
        connection.add_options(action, again=True)
        if name != "list":
            action.add_argument("stream", metavar="NAME", help="the stream's name")
        return action

    add("list", "show the streams (without an action, too)")
    _add_source_options(add("add", "open a source and track on it"))
    add("remove", "close a source and forget its objects")
    add("pause", "close a source and keep its objects")
    add("resume", "open a paused source again, or retry a failing one now")
    record = add("record", "record a source from now on, or stop")
    record.add_argument("switch", choices=["on", "off"], help="it needs settings for recording")


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    url = parser.add_argument(
        "url",
        metavar="URL",
        help="file or image folder on the daemon's machine, rtsp://, http://, rtmp://, udp://, "
        "rtp:// or tcp:// address, webcam:0, or lavfi:PATTERN; - reads it from stdin",
    )
    source_address.add_options(parser, url)
    group = parser.add_argument_group("source")

    def add(name: str, text: str, **more: Any) -> None:  # what is left out is not sent
        group.add_argument(name, default=argparse.SUPPRESS, help=text, **more)

    add(
        "--policy",
        "latest drops stale frames, every tracks all",
        choices=["auto", "latest", "every"],
    )
    add("--realtime", "play a file at its own pace", action="store_true")
    add("--loop", "begin a file again when it ends", action="store_true")
    add("--encoding", "how masks are sent", choices=["rle", "bits", "labelmap-png", "polygon"])
    add(
        "--open-timeout",
        "longest wait for each step of opening",
        type=float,
        dest=_OPEN,
        metavar="S",
    )
    add(
        "--stall-timeout",
        "open it again after so long without a frame",
        type=float,
        dest=_STALL,
        metavar="S",
    )
    add(
        "--deadline",
        "fps=N or latency_ms=N: give up quality where that is not reached else",
        type=_deadline,
        metavar="TARGET",
    )
    add(
        "--find",
        "a finder that adds objects, as in motion or text:cat.dog",
        type=_finder,
        metavar="NAME[:WORDS]",
    )
    add(
        "--record",
        "record packets and messages in this folder of the daemon's machine",
        type=_recorded,
        metavar="DIR",
    )
    source_options.add_option(group)


def _finder(text: str) -> "FindSettings":
    from pydantic import ValidationError

    from tracker.protocol.fields import FindSettings

    name, _, query = text.partition(":")
    try:
        return FindSettings(finder=name, query=query)
    except ValidationError:
        message = f"{text!r} is no finder: write motion, or text:cat.dog"
        raise argparse.ArgumentTypeError(message) from None


def _recorded(text: str) -> "RecordSettings":
    from tracker.protocol.fields import RecordSettings

    return RecordSettings(dir=Path(text).absolute())


def _deadline(text: str) -> "DeadlineSettings":
    from pydantic import ValidationError

    from tracker.protocol.fields import DeadlineSettings

    name, _, value = text.partition("=")
    try:
        return DeadlineSettings.model_validate_strings({name: value})
    except ValidationError:
        message = f"{text!r} is no target above 0: write fps=15 or latency_ms=80"
        raise argparse.ArgumentTypeError(message) from None


def run(args: argparse.Namespace) -> int:
    """Do the action, print the streams and return the exit code.

    Raises:
        TrackdError: The daemon refuses, or does not answer.
    """
    url = _located(source_address.given(args.url, args)) if args.action == "add" else ""
    with connection.open_client(args) as client:
        _change(client, args, url)
        streams = client.streams()
    _print(streams, as_json=args.json)
    return 0


def _change(client: "Client", args: argparse.Namespace, url: str) -> None:
    """Do the action, and say so where a restart of the daemon would undo it."""
    changed: ChangeResult | None = None
    match args.action:
        case "add":
            changed = client.add_stream(args.stream, url, **_options(args))
        case "remove":
            changed = client.remove_stream(args.stream)
        case "pause":
            changed = client.pause_stream(args.stream)
        case "resume":
            changed = client.resume_stream(args.stream)
        case "record":
            client.record_stream(args.stream, args.switch == "on")
    if changed is not None and changed.durable is False:
        text = f"it is done, but would be undone by a restart of the daemon: {changed.reason}"
        print("trackd: warning:", printable(text), file=sys.stderr)


def _options(args: argparse.Namespace) -> "StreamOptions":
    given = {name: value for name, value in vars(args).items() if name in _OPTIONS}
    return cast("StreamOptions", given | source_options.given(args.source_options))


def _located(url: str) -> str:
    """A path from the root: the daemon's working directory is another one."""
    from streams.address import local_path

    path = local_path(url)
    return url if path is None else str(path.absolute())


def _print(streams: "Sequence[StreamInfo]", *, as_json: bool) -> None:
    from tracker.protocol.replies import StreamsResult

    if as_json:
        print(StreamsResult(streams=list(streams)).model_dump_json(ensure_ascii=True))
        return
    if not streams:
        print("no streams; see `trackd streams add --help`")
        return
    make_console().print(_table(streams))
    for item in streams:
        print(printable(f"{item.stream}: {item.url}" + (f"; {item.error}" if item.error else "")))
        if item.recording is not None and item.recording.error:
            print(printable(f"{item.stream}: recording: {item.recording.error}"))
        if item.finding is not None:
            print(printable(f"{item.stream}: {_finding(item.finding)}"))


def _finding(item: "FindingInfo") -> str:
    text = f"finder {item.finder}: {item.found} objects found, {item.expired} of them expired"
    text += f", {item.searches} searches of {1000 * item.median_s:.0f} ms"
    failed = f", {item.failures} of them failed" if item.failures else ""
    return text + failed + (f"; {item.error}" if item.error else "")


def _table(streams: "Sequence[StreamInfo]") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    names = ["stream", "state", "size", "fps", "objects", "tracked", "dropped", "reconnects"]
    table = Table(*names, "quality", box=SIMPLE_HEAD)
    for column in table.columns[3:]:
        column.justify = "right"
    recorded = any(item.recording is not None for item in streams)
    if recorded:
        table.add_column("recording")
    for column in table.columns:
        column.no_wrap = True
    for item in streams:
        size = f"{item.width}x{item.height}" if item.width else ""
        level = "" if item.budget is None else item.budget.quality_level
        counts = (item.objects, item.tracked, item.dropped, item.reconnects, level)
        named = (item.stream, item.state.value, size, f"{item.fps:.1f}")
        recording = [_recording(item)] if recorded else []
        table.add_row(*cells(*named, *map(str, counts), *recording))
    return table


def _recording(item: "StreamInfo") -> str:
    """State of the recording, and what it wrote."""
    if item.recording is None:
        return ""
    return f"{item.recording.state} {item.recording.bytes / 2**20:.0f} MiB"
