"""Exporter of boxes as CSV, one line for each visible object on each frame.

A package offers it with these lines of its pyproject.toml, and then
`trackd track clip.mp4 --box 1:120,80,340,400 --export boxes-csv:boxes.csv` writes it:

    [project.entry-points."trackd.exporters"]
    boxes-csv = "boxes_csv:BOXES_CSV"
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from streams import Frame
from tracker.errors import OutputError
from tracker.exporters.base import ExporterSpec, ExportSource, Settings
from tracker.types import TrackResult


class BoxesCsvWriter:
    """Writes beside the file, which is put in place when it is whole."""

    def __init__(self, path: Path) -> None:
        """Write to `path`."""
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._file: IO[str] | None = None

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Add the boxes of one frame, edges in pixels."""
        boxes = [
            (frame.seq, item.id, item.label, *item.box_xyxy)
            for item in result.objects
            if item.box_xyxy is not None
        ]
        with self._whole_or_nothing():
            if self._file is None:
                self._file = self._part.open("w", newline="", encoding="utf-8")
                csv.writer(self._file).writerow(("frame", "id", "label", "x0", "y0", "x1", "y1"))
            csv.writer(self._file).writerows(boxes)

    def close(self) -> None:
        """Put the file in place."""
        if self._file is not None and not self._file.closed:
            with self._whole_or_nothing():
                self._file.close()
                self._part.replace(self._path)

    @contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._file is not None:
                with suppress(OSError):
                    self._file.close()
            self._part.unlink(missing_ok=True)
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error


def _open(path: Path, source: ExportSource, settings: Settings) -> BoxesCsvWriter:
    return BoxesCsvWriter(path)


BOXES_CSV = ExporterSpec("boxes-csv", "boxes as CSV", ".csv", _open)
