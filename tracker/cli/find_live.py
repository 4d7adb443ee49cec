"""`trackd find --live`: proposals on a frame of a stream of the daemon."""

import argparse
from typing import TYPE_CHECKING

from tracker.cli import connection, prompt
from tracker.cli.printable import printable
from tracker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracker.client.calls import Look
    from tracker.protocol.replies import FindResult


def run(args: argparse.Namespace) -> int:
    """Ask, and print what is found; 0 whether something is or not.

    Raises:
        UsageError: An option that is for pictures, or that the protocol does not allow.
        TrackdError: The daemon refuses, or does not answer.
    """
    if args.find_set or args.out is not None:
        option = "--find-set" if args.find_set else "--out"
        raise UsageError(f"{option} is not for --live", "settings are in the find: of the stream")
    finder, text = _asked(args)
    look: Look = {"finder": finder, "text": text, "min_score": args.min_score}
    if args.frame is not None:
        look["frame"] = prompt.frame_address(args.frame)
    with connection.open_client(args) as client:
        found = client.find(args.source, **look)
    print(found.model_dump_json(ensure_ascii=True) if args.json else "\n".join(_lines(found)))
    return 0


def _asked(args: argparse.Namespace) -> tuple[str | None, str | None]:
    """The finder and its words; None for those of the stream."""
    if args.text is not None:
        return "text", args.text
    if args.detect is not None:
        raise UsageError("--detect MODEL is not for --live", "use --finder detector:person.dog")
    if args.finder is not None:
        name, _, words = args.finder.partition(":")
        return name, words or None
    if args.everything or args.motion:
        return ("everything" if args.everything else "motion"), None
    return None, None


def _lines(found: "FindResult") -> "Iterator[str]":
    yield f"{len(found.proposals)} found by {found.finder} on frame {found.frame_seq}"
    for number, item in enumerate(found.proposals, 1):
        box = ",".join(f"{edge:.0f}" for edge in item.box)
        label = printable(item.label or "-")
        yield f"{number:4}  {label}  score {item.score:.2f}  box {box}  area {item.area:.0f}"
