"""Parts that the commands of bridges share: streams, messages on stderr, the end."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streams.redaction import redact_text
from tracker.cli.interrupt import stop_on_signal
from tracker.cli.printable import printable
from tracker.errors import UsageError

if TYPE_CHECKING:
    from tracker.client import Client


@contextmanager
def running() -> Iterator[Callable[[], bool]]:
    """Print the log on stderr within the block; gives a function that says when to stop."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    log = logging.getLogger("trackd")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with stop_on_signal() as should_stop:
            yield should_stop
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One line, without logins and control characters."""
        word = "warning: " if record.levelno >= logging.WARNING else ""
        return f"trackd: {word}{printable(redact_text(record.getMessage()))}"


def say(text: str) -> None:
    """Print a line on stderr."""
    print("trackd:", printable(redact_text(text)), file=sys.stderr, flush=True)


def check_streams(client: "Client", names: Sequence[str]) -> None:
    """Check that the daemon has these streams.

    Raises:
        UsageError: It has not.
        TrackdError: It does not answer.
    """
    known = [item.stream for item in client.streams()]
    for name in names:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "add it with `trackd streams add`"
            raise UsageError(f"there is no stream {name}", there)


def by_stream(option: str, texts: Sequence[str], streams: Sequence[str]) -> dict[str, str]:
    """Values of an option `[STREAM=]VALUE`, by stream; one without a stream is for all.

    Raises:
        UsageError: It names a stream that the command does not.
    """
    found: dict[str, str] = {}
    for text in texts:
        stream, equals, value = text.partition("=")
        if not equals:
            found |= dict.fromkeys(streams, text)
        elif stream in streams:
            found[stream] = value
        else:
            raise UsageError(f"{option} {text}: there is no stream {stream} in this command")
    return found


def add_streams(parser: argparse.ArgumentParser) -> None:
    """Add the streams of a command that takes several."""
    parser.add_argument("streams", nargs="+", metavar="STREAM", help="streams of the daemon")
