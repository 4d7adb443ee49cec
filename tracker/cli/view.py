"""`trackd view`: a stream in Foxglove or Rerun."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli import bridge, connection
from tracker.errors import UsageError
from tracker.extras import import_extra

if TYPE_CHECKING:
    from tracker.bridges.view.base import View

_PORT = 8765  # Foxglove's own
_SUFFIX = ".rrd"
_EXAMPLES = """\
examples:
  trackd view door --foxglove
  trackd view door --rerun
  trackd view door --rerun door.rrd
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "view",
        help="show a stream in Foxglove or Rerun",
        description="Shows a stream, with the masks of each picture, in a viewer of robotics.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stream", metavar="STREAM", help="a stream of the daemon")
    viewer = parser.add_mutually_exclusive_group(required=True)
    viewer.add_argument(
        "--foxglove",
        action="store_true",
        help="serve Foxglove on this machine; web pages in its browsers can connect, too",
    )
    viewer.add_argument(
        "--rerun",
        nargs="?",
        const="",
        metavar=f"FILE{_SUFFIX}",
        help="open the viewer of Rerun, or write the file",
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help=f"of the server for Foxglove ({_PORT}); 0 takes any"
    )
    parser.add_argument(
        "--size",
        choices=["small", "medium", "large"],
        default="medium",
        help="of the pictures: longer side of 480, 1280 (default) or 1920 pixels at most",
    )
    connection.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Show the stream until Ctrl-C or SIGTERM.

    Raises:
        UsageError: An option is wrong, there is no such stream, or the extra is not installed.
        TrackdError: The daemon does not answer, or the viewer cannot be served.
    """
    _check(args)
    from tracker.bridges.view.base import show_stream
    from tracker.protocol.fields import PreviewSize

    with connection.open_client(args) as client, bridge.running() as should_stop:
        bridge.check_streams(client, [args.stream])
        view = _view(args)
        try:
            size = PreviewSize(args.size)
            counts = show_stream(client, args.stream, size, view, should_stop)
        finally:
            view.close()
    print(f"showed {counts.shown} pictures, {counts.lost} lost")
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.foxglove:
        import_extra("foxglove", extra="foxglove", who="trackd view --foxglove")
    else:
        import_extra("rerun", extra="rerun", who="trackd view --rerun")
        if args.port is not None:
            raise UsageError("--port is for --foxglove", "leave it out")
        if args.rerun and Path(args.rerun).suffix != _SUFFIX:
            raise UsageError(f"--rerun {args.rerun}: not a name of Rerun", f"name it NAME{_SUFFIX}")
    if args.port is not None and not 0 <= args.port <= 65535:
        raise UsageError(f"--port {args.port}: not from 0 to 65535", f"leave it out for {_PORT}")


def _view(args: argparse.Namespace) -> "View":
    if args.foxglove:
        from tracker.bridges.view.foxglove import FoxgloveView

        served = FoxgloveView(args.stream, _PORT if args.port is None else args.port)
        bridge.say(f"open {served.address} in Foxglove; press Ctrl-C to end it")
        return served
    from tracker.bridges.view.rerun import RerunView

    recorded = RerunView(args.stream, Path(args.rerun) if args.rerun else None)
    bridge.say(f"showing {args.stream} in {args.rerun or 'Rerun'}; press Ctrl-C to end it")
    return recorded
