"""`trackd doctor`: is all that a daemon needs on this machine, and how to fix what is not."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tracker.cli import source_address
from tracker.cli.check import Check, Status, examine, ok
from tracker.cli.printable import printable
from tracker.cli.terminal import make_console

_COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}
_Look = Callable[[], Iterable[Check]]


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this machine, and say how to fix what is wrong",
        description="Checks packages, codecs, devices, optimizations, model files, clock, ports "
        "and sources, and says how to fix what is wrong. Ends with 1 where something fails.",
    )
    parser.add_argument(
        "--source", action="append", default=[], metavar="URL", help="a source to try; repeats"
    )
    parser.add_argument(
        "--source-file",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="one whose address is in this file; repeats",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="look at what this configuration needs"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Look at everything, print what was found and return the exit code."""
    found = []
    show = _shown(as_json=args.json)
    sources = [*args.source, *map(source_address.from_file, args.source_file)]
    for check in _findings(args.config, sources):
        found.append(check)
        show(check)
    if args.json:
        print(json.dumps({"ok": _all_well(found), "checks": [asdict(check) for check in found]}))
    else:
        counts = Counter(check.status for check in found)
        print(", ".join(f"{counts[status]} {status.value}" for status in Status))
    return 0 if _all_well(found) else 1


def _all_well(found: Iterable[Check]) -> bool:
    return all(check.status is not Status.FAIL for check in found)


def _shown(*, as_json: bool) -> Callable[[Check], None]:
    """Printer of findings as they come; some take seconds."""
    if as_json:
        return lambda check: None
    if not sys.stdout.isatty():
        return lambda check: print(printable(str(check)), flush=True)
    from rich.text import Text

    console = make_console()

    def show(check: Check) -> None:
        line = Text(printable(str(check)))
        line.stylize(_COLOURS[check.status], 0, len(check.status.value))
        console.print(line, soft_wrap=True)

    return show


def _findings(config_path: Path | None, sources: Iterable[str]) -> Iterator[Check]:
    from tracker.cli import check_machine

    yield from examine("packages", check_machine.packages)
    yield from examine("video", check_machine.video)
    yield from examine("processors", check_machine.processors)
    yield from examine("clock", check_machine.clock)
    yield from examine("configuration", partial(_with_config, config_path))
    for url in sources:
        yield from examine("source", partial(_with_source, url))


def _with_config(path: Path | None) -> Iterator[Check]:
    """Checks that depend on the configuration; one that is wrong ends them."""
    from tracker.cli import check_daemon, check_machine
    from tracker.daemon.config.load import load_config
    from tracker.daemon.config.schema import DaemonConfig

    config = DaemonConfig() if path is None else load_config(path)
    if path is not None:
        yield ok(f"{path}: valid")
    model = config.model
    chosen = (model.device, model.dtype, model.name, model.checkpoint, model.without)
    looks: dict[str, _Look] = {
        "model.device": partial(check_machine.device, *chosen),
        "model.without": partial(check_machine.optimizations, *chosen),
        "model": partial(check_machine.weights, model.name, model.checkpoint),
        "workers": partial(check_daemon.workers, config),
        "ports": partial(check_daemon.ports, config),
        "state.dir": partial(check_daemon.state_folder, config),
    }
    for name, look in looks.items():
        yield from examine(name, look)


def _with_source(url: str) -> Iterator[Check]:
    from tracker.cli import check_daemon

    return check_daemon.source(url)
