"""`trackd watch`: what the daemon tracks, as it happens."""

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from tracker.cli import connection, failures
from tracker.cli.printable import printable
from tracker.cli.terminal import make_console

if TYPE_CHECKING:
    from tracker.client import Client, Event, Result, Subscription

_REFRESH_S = 0.25


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "watch",
        help="show what the daemon tracks, as it happens",
        description="Shows what the daemon tracks: a live table on a terminal, a line for each "
        "frame elsewhere. Ctrl-C ends it.",
    )
    parser.add_argument(
        "streams", nargs="*", metavar="STREAM", help="streams to show; all where none is named"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print each message as a line of JSON, with the number of messages `lost` before it",
    )
    parser.add_argument("--events", action="store_true", help="show events, too")
    parser.add_argument("--count", type=_count, metavar="N", help="end after so many messages")
    connection.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Show messages until Ctrl-C or `--count`, and return the exit code.

    Raises:
        TrackdError: The daemon does not answer at the start, or sends what is no message.
    """
    with connection.open_client(args) as client:
        subscription = client.results_and_events(*args.streams)
        _check_names(client, args.streams)
        try:
            if args.json or not sys.stdout.isatty():
                _print_lines(subscription, args)
            else:
                _show_table(subscription, args)
        except KeyboardInterrupt:
            return failures.INTERRUPTED
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return int(text)


def _check_names(client: "Client", names: list[str]) -> None:
    """Fail where no daemon is there; say which streams are not there yet."""
    known = {item.stream for item in client.streams()}
    for name in names:
        if name not in known:
            text = f"trackd: no stream {printable(name)} yet; waiting for it"
            print(text, file=sys.stderr)


def _print_lines(subscription: "Subscription[Result | Event]", args: argparse.Namespace) -> None:
    from tracker.cli.watch_table import line

    printed = 0
    for received in subscription:
        if _is_event(received) and not args.events:
            continue
        print(_json_line(received) if args.json else line(received), flush=True)
        printed += 1
        if printed == args.count:
            return


def _is_event(received: "Result | Event") -> bool:
    return received.message.type == "event"


def _json_line(received: "Result | Event") -> str:
    fields = received.message.model_dump(mode="json")
    return json.dumps({**fields, "lost": received.lost}, separators=(",", ":"))


def _show_table(subscription: "Subscription[Result | Event]", args: argparse.Namespace) -> None:
    from rich.live import Live

    from tracker.cli.watch_table import WatchTable

    table = WatchTable(show_events=args.events)
    shown, drawn_s = 0, 0.0
    first = table.render(time.monotonic())
    with Live(first, console=make_console(), auto_refresh=False) as live:
        while shown != args.count:
            received = subscription.receive(_REFRESH_S)
            now_s = time.monotonic()
            if received is not None:
                table.note(received, now_s)
                shown += args.events or not _is_event(received)
            if now_s - drawn_s >= _REFRESH_S or shown == args.count:
                live.update(table.render(now_s), refresh=True)
                drawn_s = now_s
