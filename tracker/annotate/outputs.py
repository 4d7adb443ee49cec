"""Outputs of one run: which formats go where, checked before anything is written."""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tracker.errors import OutputError, UsageError
from tracker.exporters.base import (
    PART_NAME,
    ExporterSpec,
    ExportSource,
    Labels,
    Layout,
    Settings,
    Writer,
)
from tracker.exporters.registry import EXPORTERS

_STATE_OPTION = "--resume"


@dataclass(frozen=True, slots=True)
class Export:
    """One output: a format and its path."""

    spec: ExporterSpec
    path: Path

    def check(self, settings: Settings, *, begun: bool) -> None:
        """Check that the path can be written, and the settings of its format.

        Raises:
            UsageError: It has the wrong suffix, or a setting is wrong.
            OutputError: It cannot be written.
        """
        match self.spec.layout:
            case Layout.FILE:
                _check_file(self.spec.option, self.path, self.spec.suffixes)
            case Layout.FRAMES:
                ours = rf"(?s:.+{re.escape(self.spec.suffix)})|{re.escape(PART_NAME)}"
                _check_folder(self.spec.option, self.path, ours if begun else "")
            case Layout.DATASET:
                _check_dataset(self.spec.option, self.path, begun=begun)
        self.spec.check_settings(settings)
        self.spec.check_path(self.path, settings)

    def check_objects(self, labels: Labels) -> None:
        """Check that the format holds objects of these ids and labels.

        Raises:
            UsageError: It does not.
        """
        self.spec.check_labels(labels)
        largest = max(labels, default=0)
        limit = self.spec.max_object_id
        if limit is not None and largest > limit:
            raise UsageError(
                f"{self.spec.option} holds ids up to {limit}, not {largest}",
                "number the objects from 1",
            )


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of one run.

    Attributes:
        exports: What is written, at most one path for each format.
        state: Folder from which the run goes on after an interruption.
        settings: Settings of the formats, by name.
    """

    exports: tuple[Export, ...] = ()
    state: Path | None = None
    settings: Settings = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        paths: Mapping[str, Path | str],
        *,
        state: Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Outputs by the names of their formats, such as `{"coco": "masks.json"}`.

        Raises:
            UsageError: There is no such format, or none that has such a setting.
        """
        exports = tuple(Export(EXPORTERS.find(name), Path(path)) for name, path in paths.items())
        given = {name: value for name, value in (settings or {}).items() if value is not None}
        known = {setting.name for export in exports for setting in export.spec.settings}
        for name in sorted(given.keys() - known):
            raise _no_format_for(name)
        return cls(exports, state, given)

    def check(self, inputs: Sequence[Path], labels: Labels, *, begun: bool = False) -> None:
        """Check that all outputs can be written and harm nothing.

        Args:
            inputs: Files and folders that the run reads.
            labels: Label of each object that will be written, by its id.
            begun: An interrupted run goes on, whose masks may be written over.

        Raises:
            UsageError: An output is an input or another output, has the wrong suffix, or cannot
                hold the objects.
            OutputError: An output cannot be written there.
        """
        self._check_overlaps(inputs)
        for export in self.exports:
            export.check(self.settings, begun=begun)
        if self.state is not None:
            _check_folder(_STATE_OPTION, self.state, "(?s:.*)" if begun else "")
        for export in self.exports:
            export.check_objects(labels)

    def _check_overlaps(self, inputs: Sequence[Path]) -> None:
        wanted = list(self.wanted())
        for index, (option, path) in enumerate(wanted):
            part = path.with_name(path.name + ".part")
            for source in inputs:
                if _same(path, source) or _same(part, source):
                    raise UsageError(
                        f"{option} {path} would overwrite the input {source}", "write elsewhere"
                    )
            for other_option, other in wanted[:index]:
                if _same(path, other):
                    raise UsageError(
                        f"{other_option} and {option} are both {path}", "give each its own path"
                    )

    def check_size(self, height: int, width: int) -> None:
        """Check that frames of this size, in pixels, can be written.

        Raises:
            UsageError: They are too large for a format.
        """
        for export in self.exports:
            export.spec.check_size(export.path, height, width, self.settings)

    def open(self, source: ExportSource) -> tuple[Writer, ...]:
        """Make the writers; nothing is on disk before their first frame."""
        return tuple(item.spec.open(item.path, source, self.settings) for item in self.exports)

    def wanted(self) -> Iterator[tuple[str, Path]]:
        """The option and the path of each output."""
        for export in self.exports:
            yield export.spec.option, export.path
        if self.state is not None:
            yield _STATE_OPTION, self.state

    @property
    def max_object_id(self) -> int | None:
        """The largest id that every format holds; None for no limit."""
        limits = [export.spec.max_object_id for export in self.exports]
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def by_key(self) -> dict[str, str]:
        """The path of each output by its key in the summary."""
        paths = {export.spec.key: str(export.path) for export in self.exports}
        return paths if self.state is None else paths | {"state": str(self.state)}


def _no_format_for(setting_name: str) -> UsageError:
    """The error of a setting without an output that it is for."""
    for spec in EXPORTERS.built_in:
        for setting in spec.settings:
            if setting.name == setting_name:
                return UsageError(
                    f"{setting.option} {setting.purpose} the {spec.name} of {spec.option}",
                    f"give {spec.option} as well",
                )
    return UsageError(f"no output has a setting {setting_name}", "leave it out")


def _same(first: Path, second: Path) -> bool:
    if first.exists() and second.exists():
        return first.samefile(second)
    return first.resolve() == second.resolve()


def _check_file(option: str, path: Path, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        raise UsageError(
            f"{option} {path} does not end in {' or '.join(suffixes)}", f"name it NAME{suffixes[0]}"
        )
    if path.exists() and not path.is_file():
        raise OutputError(f"{option} {path} is not a file", "give a file name")
    _check_parent(option, path)


def _check_folder(option: str, path: Path, may_hold: str) -> None:
    """Check a folder to write; `may_hold` is a pattern of the names that may be there already."""
    if not path.exists():
        _check_parent(option, path)
        return
    if not path.is_dir():
        raise OutputError(f"{option} {path} is not a folder", "give a folder")
    _probe(option, path, path)
    if not all(re.fullmatch(may_hold, item.name) for item in path.iterdir()):
        raise OutputError(
            f"{option} {path} holds files already", "give a new folder, or empty this one"
        )


def _check_dataset(option: str, path: Path, *, begun: bool) -> None:
    """Check a folder that grows beside its place; a run that has begun finishes it again."""
    part = path.with_name(path.name + ".part")
    if part.exists() and not begun:
        raise OutputError(
            f"{option} {path}: an unfinished folder {part} is there already",
            "delete it, or give a new folder",
        )
    if begun and path.is_dir() and any(path.iterdir()):
        raise OutputError(
            f"{option} {path} is written already", "delete it to have it written again"
        )
    _check_folder(option, path, "")


def _check_parent(option: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise OutputError(
            f"{option} {path}: no folder {path.parent}", f"make it first: mkdir -p {path.parent}"
        )
    _probe(option, path, path.parent)


def _probe(option: str, path: Path, folder: Path) -> None:
    """Try to write: permission bits say too little about mounts, quotas and the superuser."""
    try:
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(None, "Permission denied")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{option} {path}: cannot write to {folder} ({error.strerror})", "choose another folder"
        ) from error
