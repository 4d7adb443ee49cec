"""`trackd checkpoints`: see which weights are here, and fetch the official ones."""

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tracker.cli.printable import printable
from tracker.cli.terminal import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from tracker.models.download import OnProgress

_LINE_EVERY_PERCENT = 10
_LINE_EVERY_BYTES = 100_000_000


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `checkpoints` and its three actions; a parsed one is given to `run`."""
    parser = subparsers.add_parser(
        "checkpoints",
        help="list or download model weights",
        description="See which model weights are on this machine, and download official ones.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser(
        "list", help="show every model, whether its weights are here, and their license"
    )
    get = actions.add_parser("get", help="download the weights of one model, or go on with it")
    get.add_argument("name", metavar="NAME", help="a model, such as sam2.1-tiny")
    get.add_argument("--url", help="fetch from this http(s) address instead of the official one")
    actions.add_parser("path", help="print the directory of downloaded weights")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do the parsed action and return the exit code.

    Raises:
        TrackdError: The model is unknown, or its weights could not be fetched or written.
    """
    if args.action == "list":
        return _list(make_console())
    if args.action == "path":
        from tracker.models.checkpoints import models_dir

        print(models_dir())
        return 0
    return get(args.name, args.url)


def _list(console: "Console") -> int:
    from rich.table import Table

    from tracker.models.checkpoints import list_checkpoints, models_dir
    from tracker.models.registry import REGISTRY

    table = Table("model", "state", "size", "where")
    table.columns[2].justify = "right"
    for column in table.columns[:3]:
        column.no_wrap = True
    table.columns[3].overflow = "fold"
    for found in list_checkpoints():
        size = "" if found.size_bytes is None else _megabytes(found.size_bytes)
        where = "in the package" if found.spec.embedded else found.path.name
        table.add_row(found.spec.name, found.state.value, size, where)
    console.print(table)
    for license in dict.fromkeys(spec.license for spec in REGISTRY.values()):
        names = [spec.name for spec in REGISTRY.values() if spec.license == license]
        _say(console, f"license of the weights of {', '.join(names)}: {license}")
    _say(console, f"directory: {models_dir()}")
    return 0


def get(name: str, url: str | None = None) -> int:
    """Fetch the weights of an official model, from `url` instead of its own if given."""
    from tracker.models.checkpoints import checkpoint_path, gated
    from tracker.models.download import download
    from tracker.models.registry import find_spec

    console = make_console(stderr=True)
    spec = find_spec(name)
    target = checkpoint_path(spec)
    if spec.embedded:
        _say(console, f"{name} comes with the package: nothing to download")
        return 0
    if target.is_file():
        _say(console, f"{name} is already here: {target}")
        return 0
    address = url or spec.url
    if address is None:
        raise gated(spec, target)
    _say(console, f"{name}: downloading to {target}")
    try:
        with transfer_progress(console) as on_progress:
            download(address, target, sha256=spec.sha256, on_progress=on_progress)
    except KeyboardInterrupt:
        _say(console, f"stopped; `trackd checkpoints get {name}` goes on from here")
        return 130
    _say(console, f"{name}: {_megabytes(target.stat().st_size)} in {target}")
    _say(console, f"license of the weights: {spec.license}")
    return 0


@contextlib.contextmanager
def transfer_progress(console: "Console") -> Iterator["OnProgress"]:
    """A bar on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        yield _ProgressLines(console)
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _ProgressLines:
    """Prints a line every tenth of the file, or every 100 MB where its size is unknown."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._last_step: int | None = None

    def __call__(self, done_bytes: int, total_bytes: int | None) -> None:
        """Print if a new step was reached since the last line."""
        if total_bytes:
            percent = 100 * done_bytes // total_bytes
            step, of = percent // _LINE_EVERY_PERCENT, f" of {_megabytes(total_bytes)} ({percent}%)"
        else:
            step, of = done_bytes // _LINE_EVERY_BYTES, ""
        if step != self._last_step:
            self._last_step = step
            _say(self._console, f"{_megabytes(done_bytes)}{of}")


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def _say(console: "Console", text: str) -> None:
    console.print(printable(text), soft_wrap=True)
