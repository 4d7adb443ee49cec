"""`trackd keys`: make CURVE keys for a daemon or a client."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `keys` and its action to `trackd`."""
    parser = subparsers.add_parser(
        "keys",
        help="make keys for connections from other machines",
        description="CURVE keys, for connections from other machines.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="write NAME.key (public) and NAME.key_secret")
    new.add_argument("name", metavar="NAME", help="who the keys are for, such as server or viewer")
    new.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="folder to write to (default: .)"
    )


def run(args: argparse.Namespace) -> int:
    """Make the keys and say where they belong.

    Raises:
        TrackdError: They cannot be written, or the files exist.
    """
    from tracker.daemon.curve import write_keys

    files = write_keys(args.out, args.name)
    print(f"{files.secret}: secret; stays with {args.name}")
    print(f"{files.public}: public; for whom {args.name} talks to")
    return 0
