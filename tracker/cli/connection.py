"""Options that say where the daemon is, for all commands that talk to it."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.process import forbid_core_dumps

if TYPE_CHECKING:
    from tracker.client import Client

_TIMEOUT_S = 10.0  # the client's own


def add_options(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """Add the options.

    Args:
        parser: The parser of the command.
        again: It is an action of a command that has the options already: they may stand before
            the action's name or after it.
    """

    def default(value: object) -> object:
        return argparse.SUPPRESS if again else value

    group = parser.add_argument_group("daemon")
    group.add_argument(
        "--control",
        default=default(None),
        metavar="ENDPOINT",
        help="control socket; $TRACKD_CONTROL, else tcp://127.0.0.1:5570",
    )
    group.add_argument(
        "--data",
        default=default(None),
        metavar="ENDPOINT",
        help="data socket; $TRACKD_DATA, else tcp://127.0.0.1:5571",
    )
    group.add_argument(
        "--key", type=Path, default=default(None), metavar="FILE", help="your secret key"
    )
    group.add_argument(
        "--server-key",
        type=Path,
        default=default(None),
        metavar="FILE",
        help="the daemon's public key",
    )
    group.add_argument(
        "--timeout",
        type=_seconds,
        default=default(None),
        metavar="S",
        help=f"longest wait for an answer, in seconds ({_TIMEOUT_S:g}); where it is given, "
        "also for a daemon that does not listen yet",
    )


def add_json_option(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """Add `--json`; `again` as in `add_options`."""
    default = argparse.SUPPRESS if again else False
    parser.add_argument("--json", action="store_true", default=default, help="print JSON")


def open_client(args: argparse.Namespace) -> "Client":
    """A client for the daemon that the options name.

    Raises:
        UsageError: An endpoint or a key file is wrong.
    """
    from tracker.client import Client

    if args.key is not None:
        forbid_core_dumps()
    return Client(
        args.control,
        args.data,
        timeout_s=args.timeout,
        client_key=args.key,
        server_key=args.server_key,
    )


def timeout_s(args: argparse.Namespace) -> float:
    """Longest wait for an answer, in seconds."""
    return _TIMEOUT_S if args.timeout is None else float(args.timeout)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return seconds
