"""Interface of exporters: the writer of one output, and the row that its format has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from streams.frame import Frame
from tracker.types import TrackResult

#: Values of exporter settings by name; those that were not given are missing or None.
Settings = Mapping[str, Any]

#: Temporary name of a frame's file in the folder of an exporter that writes one.
PART_NAME = "frame.part"


class Writer(Protocol):
    """Takes the frames of one run in order. Nothing is on disk before the first frame.

    Where the file system refuses, `write` and `close` raise `OutputError` or
    `streams.WriterError`, and nothing half-written is left.
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
    """

    name: str
    fps: Fraction | None


@dataclass(frozen=True, slots=True)
class Setting:
    """Setting of an exporter, and the command-line option of `trackd track` for it.

    Attributes:
        name: Key in the settings; the option is `--NAME` with hyphens.
        type: Makes the value from the text of the option.
        metavar: Stands for the value in `--help`.
        help: What it does, for `--help`.
        purpose: A verb for errors: "scales", as in "--out-width scales the video of --out".
    """

    name: str
    type: Callable[[str], Any]
    metavar: str
    help: str
    purpose: str

    @property
    def option(self) -> str:
        """The command-line option."""
        return "--" + self.name.replace("_", "-")


def _anything(settings: Settings) -> None:
    """Settings that need no check."""


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
        is_folder: It writes a folder with a file for each frame, named by the picture or by the
            frame's number; while one is written it is called `PART_NAME`.
        shorthand: Command-line option of a built-in format, such as "--coco".
        max_object_id: The largest id that it can hold; None for no limit.
        settings: What can be chosen.
        check_settings: Raises `UsageError` where they are wrong.
        check_size: Raises `UsageError` where frames of this height and width do not fit.
    """

    name: str
    help: str
    suffix: str
    open: Callable[[Path, ExportSource, Settings], Writer]
    is_folder: bool = False
    shorthand: str = ""
    max_object_id: int | None = None
    settings: tuple[Setting, ...] = ()
    check_settings: Callable[[Settings], None] = _anything
    check_size: Callable[[Path, int, int, Settings], None] = _any_size

    @property
    def option(self) -> str:
        """The command-line option that asks for it, as errors name it."""
        return self.shorthand or f"--export {self.name}"

    @property
    def key(self) -> str:
        """Its key in the summary."""
        return self.name.replace("-", "_")
