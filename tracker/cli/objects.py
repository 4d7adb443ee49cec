"""`trackd objects`: what a stream of the daemon tracks."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracker.cli import connection
from tracker.cli.printable import printable

if TYPE_CHECKING:
    from tracker.client import Client
    from tracker.protocol.replies import ObjectInfo


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command and its actions to `trackd`."""
    parser = subparsers.add_parser(
        "objects",
        help="list, remove, rename or reset the objects of a stream",
        description="Shows what a stream of the daemon tracks, and changes it.",
    )
    parser.add_argument("stream", metavar="STREAM", help="a stream of `trackd streams`")
    connection.add_json_option(parser)
    connection.add_options(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        action: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=f"{text}.".capitalize()
        )
        connection.add_json_option(action, again=True)
        connection.add_options(action, again=True)
        if name != "list":
            action.add_argument("object", type=int, metavar="ID", help="the object's id")
        return action

    add("list", "show the objects (without an action, too)")
    add("remove", "forget an object")
    add("reset", "forget what an object looks like; it stays listed, lost")
    relabel = add("relabel", "rename an object")
    relabel.add_argument(
        "label", nargs="?", metavar="NAME", help="its new name; without one it has none"
    )


def run(args: argparse.Namespace) -> int:
    """Do the action, print the objects and return the exit code.

    Raises:
        TrackdError: The daemon refuses, or does not answer.
    """
    with connection.open_client(args) as client:
        _change(client, args)
        objects = client.objects(args.stream)
    _print(args.stream, objects, as_json=args.json)
    return 0


def _change(client: "Client", args: argparse.Namespace) -> None:
    match args.action:
        case "remove":
            client.remove_object(args.stream, args.object)
        case "reset":
            client.reset_object(args.stream, args.object)
        case "relabel":
            client.relabel_object(args.stream, args.object, args.label)


def _print(stream: str, objects: "Sequence[ObjectInfo]", *, as_json: bool) -> None:
    from tracker.protocol.replies import ObjectsResult

    if as_json:
        result = ObjectsResult(stream=stream, objects=list(objects))
        print(result.model_dump_json(ensure_ascii=True))
    elif not objects:
        print(f"{stream} tracks nothing; see `trackd prompt --help`")
    for item in () if as_json else objects:
        print(line(item))


def line(item: "ObjectInfo") -> str:
    """One line about an object."""
    name = f"{item.id} {printable(item.label)}" if item.label else f"{item.id}"
    box = "" if item.box is None else f", box {','.join(str(edge) for edge in item.box)}"
    return f"object {name}: {item.state.value}, score {item.score:.2f}{box}"
