"""Boxes in the layout of MOTChallenge: a folder for each sequence (Dendorfer et al. 2020)."""

from fractions import Fraction
from pathlib import Path
from typing import IO

from streams.frame import Frame
from tracker.errors import UsageError
from tracker.exporters.base import ClassNames, ExportSource, Labels, class_names
from tracker.exporters.dataset import DatasetWriter
from tracker.types import TrackResult

#: The class that MOTChallenge scores.
_SCORED = "pedestrian"
_FALLBACK_FPS = Fraction(30)


def check_labels(labels: Labels) -> None:
    """Check that each label is one word.

    Raises:
        UsageError: One has a space or a comma in it.
    """
    for object_id, label in labels.items():
        if label is not None and (label.split() != [label] or "," in label):
            raise UsageError(
                f"--export mot holds no label with spaces or commas: {label} of object {object_id}",
                f"name it {'_'.join(label.replace(',', ' ').split()) or 'object'}",
            )


def sequence_info(source: ExportSource, length: int, size_hw: tuple[int, int]) -> str:
    """Text of `seqinfo.ini`, which says what sequence it is."""
    height, width = size_hw
    rate = max(1, round(source.fps or _FALLBACK_FPS))
    return (
        f"[Sequence]\nname={source.name}\nimDir=img1\nframeRate={rate}\nseqLength={length}\n"
        f"imWidth={width}\nimHeight={height}\nimExt=.jpg\n"
    )


class MotWriter(DatasetWriter):
    """Writes `gt/gt.txt`, `gt/labels.txt` and `seqinfo.ini`.

    A line is frame, id, left, top, width, height, 1 (it counts), class, 1 (visibility). Frames
    count from 1 without gaps, pixels from 1, as MOTChallenge's do; classes are the lines of
    `labels.txt`, pedestrian the first where it is one.
    """

    def __init__(self, folder: Path, source: ExportSource) -> None:
        """Write to `folder`."""
        super().__init__(folder)
        self._source = source
        known = sorted(class_names(source.labels), key=lambda name: name != _SCORED)
        self._classes = ClassNames(known)
        self._file: IO[str] | None = None

    def _begin(self) -> None:
        (self.part / "gt").mkdir()
        self._file = (self.part / "gt" / "gt.txt").open("w", encoding="ascii")

    def _record(self, frame: Frame, result: TrackResult) -> None:
        assert self._file is not None
        for item in result.objects:
            if item.box_xyxy is None:
                continue
            x0, y0, x1, y1 = item.box_xyxy
            number = self._classes.index(item.label) + 1
            place = f"{x0 + 1},{y0 + 1},{x1 - x0},{y1 - y0}"
            self._file.write(f"{self.length + 1},{item.id},{place},1,{number},1\n")

    def _finish(self) -> None:
        self._abandon()
        lines = "".join(f"{name}\n" for name in self._classes.names)
        (self.part / "gt" / "labels.txt").write_text(lines, encoding="utf-8")
        info = sequence_info(self._source, self.length, self.size_hw)
        (self.part / "seqinfo.ini").write_text(info, encoding="utf-8")

    def _abandon(self) -> None:
        if self._file is not None:
            self._file.close()
