"""`trackd fleet`: streams over several daemons."""

import argparse
import json
import logging
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tracker.cli import connection
from tracker.cli.printable import printable
from tracker.cli.terminal import cells, make_console
from tracker.process import forbid_core_dumps

if TYPE_CHECKING:
    from tracker.fleet.config import FleetConfig
    from tracker.fleet.placement import Placement
    from tracker.protocol.fleet import FleetStatusResult

_ASK_S = 10.0
_ABOUT = """\
Places streams on several daemons, keeps snapshots of their objects off them, and moves the streams
of one that dies to the others, where the objects go on with their ids. docs/how-to/fleet.md
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "fleet",
        help="place streams on several daemons, and move them from one that dies",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    up = actions.add_parser("up", help="run the head: watch nodes, place streams")
    status = actions.add_parser("status", help="show nodes and their streams")
    drain = actions.add_parser("drain", help="move the streams of a node to the others")
    drain.add_argument("node", metavar="NODE")
    drain.add_argument("--undo", action="store_true", help="give it streams again")
    for action in (up, status, drain):
        action.add_argument(
            "--config",
            type=Path,
            default=Path("fleet.yaml"),
            metavar="FILE",
            help="nodes and streams (fleet.yaml)",
        )
    connection.add_json_option(status)


def run(args: argparse.Namespace) -> int:
    """Run the action, and return the exit code."""
    forbid_core_dumps()
    if args.action == "up":
        return _up(args.config)
    from tracker.client.directory import DirectoryClient
    from tracker.fleet.config import load_fleet

    admin = load_fleet(args.config).head.admin
    directory = DirectoryClient(f"ipc://{admin}", None, _ASK_S)
    try:
        if args.action == "drain":
            _show(directory.drain(args.node, drain=not args.undo))
        elif args.json:
            print(json.dumps(directory.status().model_dump(mode="json")))
        else:
            _show(directory.status())
    finally:
        directory.close()
    return 0


def _up(path: Path) -> int:
    """Run the head until it is told to stop."""
    from tracker.fleet.config import load_fleet
    from tracker.fleet.directory import Directory
    from tracker.fleet.head import Head

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config = load_fleet(path)
    head = Head(config, _placement(config))
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, lambda number, frame: os._exit(128 + number))
        stop.set()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    directory = Directory(config.head, head.answer)
    head.start()
    logging.getLogger("trackd.fleet").info("ready: directory %s", directory.endpoint)
    stop.wait()
    directory.stop()
    head.stop()
    return 0


def _placement(config: "FleetConfig") -> "Placement":
    from tracker.fleet.placement import StaticPlacement

    if config.ray is None:
        return StaticPlacement(config)
    from tracker.fleet.ray_nodes import RayPlacement

    return RayPlacement(config)


def _show(status: "FleetStatusResult") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("node", "state", "streams", "ms a frame", "headroom", "error", box=SIMPLE_HEAD)
    for node in status.nodes:
        ms, headroom = f"{node.frame_ms:.1f}", f"{node.headroom:.0%}"
        streams = ", ".join(node.streams)
        table.add_row(*cells(node.node, node.state, streams, ms, headroom, node.error))
    make_console().print(table)
    if status.unplaced:
        print(f"without a node: {', '.join(status.unplaced)}")
    if status.snapshots.problem:
        print(printable(f"snapshots: {status.snapshots.problem}"))
