"""`trackd models`: those that track, segment, find and fill, their licenses, how to get them."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from tracker.cli import checkpoints
from tracker.cli.printable import printable
from tracker.cli.terminal import make_console

if TYPE_CHECKING:
    from tracker.choose.measure import Measurement
    from tracker.models.catalog import CatalogModel
    from tracker.models.checkpoints import Checkpoint

_EXAMPLES = """\
examples:
  trackd models
  trackd models get sam2.1-tiny
  trackd models get grounding-dino-tiny
  trackd models --measure
"""
#: Of models that track: millions of parameters, as published.
_TRACKER_PARAMETERS_M = {
    "tiny": 38.9,
    "small": 46.0,
    "base-plus": 80.8,
    "large": 224.4,
    "pico": 6.0,
    "edgetam": 13.9,
    "ti": 18.0,
    "s": 34.0,
}
_BY_TRANSFORMERS = ("edgetam", "sam3-tracker")


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "models",
        help="list, fetch or measure models that track, segment, find and fill",
        description="Lists the models that track, segment, find and fill, or fetches one.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--measure", action="store_true", help="time those that are here, for trackd choose"
    )
    parser.add_argument("--device", default="auto", help="for --measure: auto, cpu, cuda or mps")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    get = actions.add_parser("get", help="fetch a model, or go on with it")
    get.add_argument("name", metavar="NAME", help="as trackd models lists it")
    get.add_argument(
        "--revision", metavar="COMMIT", help="of a repository of the hub, instead of the known one"
    )


def run(args: argparse.Namespace) -> int:
    """List, fetch or measure.

    Raises:
        TrackdError: The model is unknown, cannot be fetched, or cannot be loaded.
    """
    if args.action == "get":
        return _get(args.name, args.revision)
    if args.measure:
        return _measure(args.device, as_json=args.json)
    rows = _rows()
    if args.json:
        print(json.dumps(rows))
        return 0
    _print(rows)
    return 0


def _rows() -> list[dict[str, Any]]:
    """One row for each model."""
    from tracker.models.catalog import CATALOG
    from tracker.models.checkpoints import list_checkpoints

    trackers = [_tracker_row(found) for found in list_checkpoints()]
    return [*trackers, *(_catalog_row(entry) for entry in CATALOG.values())]


def _tracker_row(found: "Checkpoint") -> dict[str, Any]:
    spec = found.spec
    size = spec.name.removeprefix(f"{spec.family}-").removesuffix("-512")
    how = f"trackd models get {spec.name}" if spec.gated is None else f"accept it at {spec.gated}"
    return {
        "name": spec.name,
        "task": "track",
        "parameters_m": _TRACKER_PARAMETERS_M.get(size),
        "code_license": "Apache-2.0",
        "weights_license": spec.license.spdx,
        "bytes": found.size_bytes,
        "how": "in the package" if spec.embedded else how,
        "extra": "transformers" if spec.family in _BY_TRANSFORMERS else "",
        "note": spec.license.allows,
    }


def _catalog_row(entry: "CatalogModel") -> dict[str, Any]:
    from tracker.models.catalog import OwnFiles
    from tracker.models.model_files import folder_bytes, model_folder

    folder, files = model_folder(entry), entry.files
    return {
        "name": entry.name,
        "task": str(entry.task),
        "parameters_m": entry.parameters_m,
        "code_license": entry.code_license,
        "weights_license": entry.weights_license,
        "bytes": None if folder is None else folder_bytes(folder),
        "how": files.how if isinstance(files, OwnFiles) else f"trackd models get {entry.name}",
        "extra": entry.extra,
        "note": entry.note,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from tracker.finders.registry import FINDERS
    from tracker.models.checkpoints import models_dir
    from tracker.segmenters.registry import SEGMENTERS

    table = Table("model", "to", "M", "here", "code", "weights", "how to get it")
    table.columns[2].justify = table.columns[3].justify = "right"
    for column in table.columns[:4]:
        column.no_wrap = True
    for row in rows:
        size = "no" if row["bytes"] is None else f"{row['bytes'] / 1e6:.0f} MB"
        parameters = "" if row["parameters_m"] is None else f"{row['parameters_m']:g}"
        extra = f"pip install 'trackd[{row['extra']}]', " if row["extra"] else ""
        table.add_row(
            row["name"],
            row["task"],
            parameters,
            size,
            row["code_license"],
            row["weights_license"],
            printable(f"{extra}{row['how']}"),
        )
    console = make_console()
    console.print(table)
    for row in rows:
        if row["note"] and row["task"] != "track":
            console.print(printable(f"{row['name']}: {row['note']}"), soft_wrap=True)
    console.print("M: millions of parameters, as published", soft_wrap=True)
    console.print(printable(f"finders: {', '.join(FINDERS.names)}"), soft_wrap=True)
    console.print(printable(f"segmenters: {', '.join(SEGMENTERS.names)}"), soft_wrap=True)
    console.print(printable(f"directory: {models_dir()}, and the cache of the hub"), soft_wrap=True)


def _get(name: str, revision: str | None) -> int:
    from tracker.models.catalog import HubFiles, find_model
    from tracker.models.model_files import folder_bytes, get_model
    from tracker.models.registry import REGISTRY

    if name in REGISTRY:
        return checkpoints.get(name)
    entry = find_model(name)
    console = make_console(stderr=True)
    console.print(f"{name}: fetching", soft_wrap=True)
    try:
        with checkpoints.transfer_progress(console) as on_progress:
            folder = get_model(entry, revision=revision, on_progress=on_progress)
    except KeyboardInterrupt:
        console.print(f"stopped; `trackd models get {name}` goes on from here", soft_wrap=True)
        return 130
    size = f"{folder_bytes(folder) / 1e6:.1f} MB"
    where = f"revision {folder.name}" if isinstance(entry.files, HubFiles) else str(folder)
    console.print(printable(f"{name}: {size}, {where}"), soft_wrap=True)
    console.print(f"license of the weights: {entry.weights_license}", soft_wrap=True)
    return 0


def _measure(device: str, *, as_json: bool) -> int:
    """Time all models that are here; one that fails is told and left out."""
    from tracker.choose.measure import measure, names_here
    from tracker.choose.record import keep_measurements, record_path
    from tracker.cli.interrupt import stop_on_signal
    from tracker.errors import TrackdError

    console = make_console(stderr=True)
    found: list[Measurement] = []
    with stop_on_signal() as stop_asked:
        for name in names_here():
            if stop_asked():
                break
            try:
                for item in measure(name, device, stop_asked):
                    found.append(item)
                    many = f"{item.objects} objects" if item.task == "track" else item.task
                    line = (
                        f"{item.name} ({item.device}, {item.precision}), {many}: {item.ms:.1f} ms"
                    )
                    console.print(printable(line), soft_wrap=True)
            except TrackdError as error:
                console.print(printable(f"{name} was left out: {error}"), soft_wrap=True)
        stopped = stop_asked()
    keep_measurements(found)
    console.print(printable(f"kept in {record_path()}"), soft_wrap=True)
    if as_json:
        print(json.dumps([item.as_dict() for item in found]))
    return 130 if stopped else 0
