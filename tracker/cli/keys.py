"""`trackd keys`: make CURVE keys for a daemon or a client, and let clients in."""

import argparse
from pathlib import Path
from typing import Any

from tracker.protocol.roles import Role


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `keys` and its action to `trackd`."""
    parser = subparsers.add_parser(
        "keys",
        help="make keys for connections from other machines, and let clients in",
        description="CURVE keys, for connections from other machines.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="write NAME.key (public) and NAME.key_secret")
    new.add_argument("name", metavar="NAME", help="who the keys are for, such as server or viewer")
    new.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="folder to write to (default: .)"
    )

    allow = actions.add_parser(
        "allow", help="let a client in: copy its public key into a daemon's folder of client keys"
    )
    allow.add_argument("key", metavar="NAME.key", type=Path, help="the client's public key")
    allow.add_argument(
        "--in", dest="folder", metavar="DIR", type=Path, required=True, help="security.client_keys"
    )
    allow.add_argument(
        "--role",
        choices=[role.value for role in Role],
        default=Role.WATCH.value,
        help="watch: see and subscribe (default); prompt: change objects too; admin: everything",
    )


def run(args: argparse.Namespace) -> int:
    """Do what `args` ask for and say what was done.

    Raises:
        TrackdError: A key file cannot be read or written, or is there already.
    """
    return _allow(args) if args.action == "allow" else _new(args)


def _allow(args: argparse.Namespace) -> int:
    from tracker.daemon.access.key_files import allow_key

    made = allow_key(args.key, args.folder, Role(args.role))
    print(f"{made}: {made.stem} has the role {args.role}; remove the file to shut it out")
    return 0


def _new(args: argparse.Namespace) -> int:
    from tracker.daemon.access.key_files import write_keys

    files = write_keys(args.out, args.name)
    print(f"{files.secret}: secret; stays with {args.name}")
    print(f"{files.public}: public; for whom {args.name} talks to")
    return 0
