"""`trackd serve`: the daemon."""

import argparse
import os
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tracker.cli import failures
from tracker.process import forbid_core_dumps

if TYPE_CHECKING:
    from tracker.daemon.config.schema import DaemonConfig
    from tracker.daemon.server import Server

_ABOUT = """\
Tracks objects in live streams until it is told to stop. Clients prompt it and listen to it over
ZeroMQ; see `trackd schema protocol`. SIGTERM or Ctrl-C drains and ends, a second one ends at once;
SIGHUP reads the configuration again and says what changed.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "serve",
        help="track objects in live streams, as a daemon",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML; see trackd schema config. Without one: defaults, and streams that clients add",
    )
    parser.add_argument(
        "--ignore-unreadable-state",
        action="store_true",
        help="where the saved streams are damaged or of a newer version, start without them "
        "instead of ending with 78; a copy of the file is kept",
    )


def run(args: argparse.Namespace) -> int:
    """Serve, and return the exit code: 0 after a drain.

    From here on nothing waits for who reads our output, the message about a failure included.
    """
    from tracker.daemon.telemetry.log_writer import background_output

    forbid_core_dumps()
    served = False
    with background_output():
        try:
            server = _prepared(args)
            served = True
            code = server.run()
        except (Exception, KeyboardInterrupt) as error:
            code = failures.report(error)
    if served:
        # All that can be is saved and closed. What hangs would be waited for, and to take the
        # interpreter apart is seconds of work on a busy machine, past `drain_timeout_s`.
        os._exit(code)
    return code


def _prepared(args: argparse.Namespace) -> "Server":
    """A server that takes signals, and is not yet running."""
    import tracker
    from tracker.daemon.config.load import load_config
    from tracker.daemon.config.schema import DaemonConfig
    from tracker.daemon.telemetry.logs import setup_logs

    def read() -> "DaemonConfig":
        return DaemonConfig() if args.config is None else load_config(args.config)

    config = read()
    setup_logs(config.log)
    from tracker.daemon.server import Server, ServerSignal

    ignore = args.ignore_unreadable_state
    server = Server(config, read, tracker.__version__, ignore_unreadable_state=ignore)

    def drain(number: int, frame: FrameType | None) -> None:
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, _end_at_once)
        server.wish(ServerSignal.DRAIN)

    def reload(number: int, frame: FrameType | None) -> None:
        server.wish(ServerSignal.RELOAD)

    signal.signal(signal.SIGINT, drain)
    signal.signal(signal.SIGTERM, drain)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, reload)
    return server


def _end_at_once(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)
