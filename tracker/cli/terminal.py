"""Standard output and error: what they do with text that they cannot show, and with tables."""

import io
import os
import sys
from typing import TYPE_CHECKING

from tracker.cli.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_UNBOUNDED = 100_000  # columns


def prepare_output() -> None:
    """Escape what the encoding of standard output or error lacks, where Python would raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Write what standard output holds back, or drop it, so that the interpreter is not to fail."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_console(*, stderr: bool = False) -> "Console":
    """A console of rich that takes text as it is; outside of a terminal it cuts nothing."""
    from rich.console import Console

    prepare_output()
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _UNBOUNDED
    return console


def cells(*texts: str) -> "list[Text]":
    """The cells of a table's row, with text that others chose."""
    from rich.text import Text

    return [Text(printable(text)) for text in texts]
