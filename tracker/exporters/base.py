"""Interface of exporters: the writer of one output, and the row that its format has."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from streams.frame import Frame
from tracker.types import TrackResult

#: Values of exporter settings by name; those that were not given are missing or None.
Settings = Mapping[str, Any]

#: Label of each object by its id, None for those that have none.
Labels = Mapping[int, str | None]

#: Temporary name of a frame's file in the folder of an exporter that writes one.
PART_NAME = "frame.part"

#: Class of objects without a label, in formats that ask for one.
UNNAMED = "object"


class Writer(Protocol):
    """Takes the frames of one run in order. Nothing is on disk before the first frame.

    Where the file system refuses, `write` and `close` raise `OutputError` or
    `streams.WriterError`, and nothing half-written is left.

    A writer may also have `notes`, a tuple of lines about what its format could not hold, which
    the summary shows.
    """

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Add one frame; after a failure the writer takes no more."""

    def close(self) -> None:
        """Finish, so that what was written is a valid output; without a frame there is none."""


@dataclass(frozen=True, slots=True)
class ExportSource:
    """Source of the frames, as writers need to know it.

    Attributes:
        name: What the frames are called together: that of the folder or of the video.
        fps: Frame rate; None where there is none.
        labels: Label of each object that may come.
        file: The video file, whose sound and metadata may be copied; None for other sources.
    """

    name: str
    fps: Fraction | None
    labels: Labels = field(default_factory=dict)
    file: Path | None = None


class Layout(Enum):
    """Kind of place that a format is written to.

    `FILE` is one file. `FRAMES` is a folder with a file for each frame, complete at any time.
    `DATASET` is a folder of several kinds of files that takes its name when it is complete.
    """

    FILE = "file"
    FRAMES = "frames"
    DATASET = "dataset"


@dataclass(frozen=True, slots=True)
class Setting:
    """Setting of an exporter, and the command-line option of `trackd track` for it.

    Formats may share a setting: the same object in the rows of all.

    Attributes:
        name: Key in the settings; the option is `--NAME` with hyphens.
        type: Makes the value from the text of the option.
        metavar: Stands for the value in `--help`.
        help: What it does, for `--help`.
        purpose: A verb for errors: "scales", as in "--out-width scales the video of --out".
        repeats: The option may be given several times; the value is the list of them.
    """

    name: str
    type: Callable[[str], Any]
    metavar: str
    help: str
    purpose: str
    repeats: bool = False

    @property
    def option(self) -> str:
        """The command-line option."""
        return "--" + self.name.replace("_", "-")


def _anything(settings: Settings) -> None:
    """Settings that need no check."""


def _any_path(path: Path, settings: Settings) -> None:
    """Settings that go with every path."""


def _any_labels(labels: Labels) -> None:
    """A format for all labels."""


def _any_size(path: Path, height: int, width: int, settings: Settings) -> None:
    """A format for frames of all sizes."""


@dataclass(frozen=True, slots=True)
class ExporterSpec:
    """Registry row of an output format.

    Attributes:
        name: As in `--export NAME:PATH`.
        help: What is written, for `--help`.
        suffix: How the name of the file ends, such as ".json"; of a folder, those of its files.
        open: Makes the writer of a path; nothing is on disk before its first frame.
        layout: What is at the path: a file, or a folder.
        shorthand: Command-line option of a built-in format, such as "--coco"; "" for none.
        max_object_id: The largest id that it can hold; None for no limit.
        settings: What can be chosen.
        check_settings: Raises `UsageError` where they are wrong.
        check_path: Raises `UsageError` where they do not go with the path.
        check_labels: Raises `UsageError` where a label does not fit.
        check_size: Raises `UsageError` where frames of this height and width do not fit.
        more_suffixes: Further endings of the file that are taken.
    """

    name: str
    help: str
    suffix: str
    open: Callable[[Path, ExportSource, Settings], Writer]
    layout: Layout = Layout.FILE
    shorthand: str = ""
    max_object_id: int | None = None
    settings: tuple[Setting, ...] = ()
    check_settings: Callable[[Settings], None] = _anything
    check_path: Callable[[Path, Settings], None] = _any_path
    check_labels: Callable[[Labels], None] = _any_labels
    check_size: Callable[[Path, int, int, Settings], None] = _any_size
    more_suffixes: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """The command-line option that asks for it, as errors name it."""
        return self.shorthand or f"--export {self.name}"

    @property
    def key(self) -> str:
        """Its key in the summary."""
        return self.name.replace("-", "_")

    @property
    def suffixes(self) -> tuple[str, ...]:
        """All endings of the file."""
        return (self.suffix, *self.more_suffixes)


def notes_of(writer: Writer) -> tuple[str, ...]:
    """Lines about what a writer's format could not hold."""
    notes: tuple[str, ...] = getattr(writer, "notes", ())
    return notes


def class_names(labels: Labels) -> list[str]:
    """Names of the classes that the labels make, in the order of the alphabet."""
    return sorted({label or UNNAMED for label in labels.values()})


class ClassNames:
    """Classes of a dataset: those of the labels known before, then others as they come.

    Attributes:
        names: In the order of their indices.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)

    def index(self, label: str | None) -> int:
        """Index of the class of a label, from 0; a new one gets the next."""
        name = label or UNNAMED
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)
