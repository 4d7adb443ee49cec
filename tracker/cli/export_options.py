"""Output options of `trackd track`: a row of the exporters' registry each, and `--export`."""

import argparse
from pathlib import Path
from typing import Any

from tracker.errors import UsageError
from tracker.exporters.base import ExporterSpec, Layout, Setting
from tracker.exporters.registry import EXPORTERS


def add_options(group: "argparse._ActionsContainer") -> None:
    """Add the options of the built-in formats and their settings, and the one for all formats."""
    for spec in EXPORTERS.built_in:
        if spec.shorthand:
            metavar = f"FILE{spec.suffix}" if spec.layout is Layout.FILE else "DIR"
            group.add_argument(
                spec.shorthand, dest=_dest(spec.name), type=Path, metavar=metavar, help=spec.help
            )
    for setting in _settings():
        group.add_argument(
            setting.option,
            dest=setting.name,
            type=setting.type,
            action="append" if setting.repeats else "store",
            metavar=setting.metavar,
            help=setting.help,
        )
    group.add_argument(
        "--export",
        dest="exports",
        action="append",
        default=[],
        metavar="FORMAT:PATH",
        help="an output by the name of its format, or of one of an installed package (repeats): "
        + "; ".join(_described(spec) for spec in EXPORTERS.built_in),
    )


def _described(spec: ExporterSpec) -> str:
    return f"{spec.name}, as {spec.shorthand}" if spec.shorthand else f"{spec.name}, {spec.help}"


def _settings() -> list[Setting]:
    """The settings of the built-in formats, each once."""
    return list(dict.fromkeys(item for spec in EXPORTERS.built_in for item in spec.settings))


def given(args: argparse.Namespace) -> dict[str, Path]:
    """The paths that were typed, by the names of their formats.

    Raises:
        UsageError: A text is no FORMAT:PATH, or a format is given twice.
    """
    typed = {
        spec.name: getattr(args, _dest(spec.name)) for spec in EXPORTERS.built_in if spec.shorthand
    }
    paths: dict[str, Path] = {}
    for text in args.exports:
        name, colon, path = text.partition(":")
        if not colon or not name or not path:
            raise UsageError(
                f"--export {text} is not FORMAT:PATH", "as in --export coco:masks.json"
            )
        if name in paths or typed.get(name) is not None:
            raise UsageError(f"--export {text}: {name} is given twice", "leave one out")
        paths[name] = Path(path)
    order = {name: paths.get(name, path) for name, path in typed.items()}
    return {name: path for name, path in (order | paths).items() if path is not None}


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of the formats that were typed, by name."""
    return {setting.name: getattr(args, setting.name) for setting in _settings()}


def _dest(name: str) -> str:
    return f"export_{name}"
