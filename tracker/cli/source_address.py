"""The address of a source: as it is typed, or from where passwords do not show in `ps`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracker.address_file import only_address, read_address, warning_of
from tracker.cli.printable import printable
from tracker.errors import UsageError

STDIN = "-"


class _InsteadOf(argparse.Action):
    """An option with which a positional argument may be left out."""

    def __init__(self, *args: Any, positional: argparse.Action, **more: Any) -> None:
        super().__init__(*args, **more)
        self._positional = positional

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Keep the value."""
        self._positional.required = False
        setattr(namespace, self.dest, values)


def add_options(parser: argparse.ArgumentParser, positional: argparse.Action) -> None:
    """Add the options; `positional` is the argument that they stand in for."""
    group = parser.add_argument_group("an address with a password in it")
    group.add_argument(
        "--url-file",
        action=_InsteadOf,
        positional=positional,
        type=Path,
        metavar="FILE",
        help="take the address from this file, which holds nothing else (chmod 600)",
    )
    group.add_argument(
        "--url-env",
        action=_InsteadOf,
        positional=positional,
        metavar="NAME",
        help="take it from this variable of the environment; an address of - is read from stdin",
    )


def given(typed: str | None, args: argparse.Namespace) -> str:
    """The address that was typed, or is where the options say.

    Raises:
        UsageError: It is given twice, or not where they say.
    """
    ways = [way for way in (typed, args.url_file, args.url_env) if way is not None]
    if len(ways) != 1:
        raise UsageError("the address is given twice", "leave one out")
    if args.url_file is not None:
        return from_file(args.url_file)
    if args.url_env is not None:
        value = os.environ.get(args.url_env, "").strip()
        if not value:
            raise UsageError(f"{args.url_env} is not set in the environment", "export it")
        return value
    return only_address(sys.stdin.buffer, "stdin") if typed == STDIN else str(typed)


def from_file(path: Path) -> str:
    """The address in a file; where other users can read it, a line on stderr says so.

    Raises:
        UsageError: It cannot be read, or does not hold one address.
    """
    address = read_address(path)
    if warning := warning_of(path):
        print("trackd: warning:", printable(warning), file=sys.stderr)
    return address
