"""Masks in the layout of MOTS, text and PNG (Voigtlaender et al. 2019)."""

from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from streams.frame import Frame
from tracker.errors import OutputError, UsageError
from tracker.exporters.base import UNNAMED, ExportSource, Labels, class_names
from tracker.exporters.dataset import DatasetWriter
from tracker.exporters.label_map import OverlapCounter, label_map
from tracker.exporters.mot import sequence_info
from tracker.rle import encode_rle
from tracker.types import TrackResult

#: An instance's number is its class times this plus the object's id.
_IDS_PER_CLASS = 1000
MAX_ID = _IDS_PER_CLASS - 1
_FIXED = ("car", "pedestrian")
_IGNORED = 10
_MAX_CLASS = (2**16 - 1) // _IDS_PER_CLASS - 1
_MOST_CLASSES = _MAX_CLASS - 1  # without the ignored one


def check_labels(labels: Labels) -> None:
    """Check that the numbers of the classes fit into 16 bits.

    Raises:
        UsageError: There are too many labels.
    """
    if len({*class_names(labels), *_FIXED}) > _MOST_CLASSES:
        raise UsageError(
            f"--export mots holds {_MOST_CLASSES} classes, the labels make more", "use fewer labels"
        )


class MotsWriter(DatasetWriter):
    """Writes `gt/gt.txt`, a PNG per frame in `instances/`, and `seqinfo.ini`.

    A line of the text is frame, instance, class, height, width, COCO's run lengths; frames count
    from 1 without gaps. The pixels of a PNG, grey with 16 bits, are instances: class times 1000
    plus the object's id. Classes are 1 car, 2 pedestrian, then others in the order in which they
    come, without 10 (ignored). An object on several pixels is on top as in `label_map`.
    """

    def __init__(self, folder: Path, source: ExportSource) -> None:
        """Write to `folder`."""
        super().__init__(folder)
        self._source = source
        self._classes = dict(zip(_FIXED, (1, 2), strict=True))
        self._overlaps = OverlapCounter("mots")
        self._file: IO[str] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What one instance a pixel could not hold."""
        return self._overlaps.notes

    def _begin(self) -> None:
        (self.part / "gt").mkdir()
        (self.part / "instances").mkdir()
        self._file = (self.part / "gt" / "gt.txt").open("w", encoding="ascii")

    def _record(self, frame: Frame, result: TrackResult) -> None:
        assert self._file is not None
        height, width = frame.image.shape[:2]
        ids_hw = label_map(result, height, width)
        self._overlaps.add(result, ids_hw)
        instances_hw = np.zeros_like(ids_hw)
        for item in result.objects:
            mask_hw = np.asarray(ids_hw == item.id, np.bool_)
            if not mask_hw.any():
                continue
            number = self._number(item.label or UNNAMED)
            instance = number * _IDS_PER_CLASS + item.id
            instances_hw[mask_hw] = instance
            counts = encode_rle(mask_hw).counts
            self._file.write(f"{self.length + 1} {instance} {number} {height} {width} {counts}\n")
        Image.fromarray(instances_hw).save(self.part / "instances" / f"{self.length + 1:06d}.png")

    def _number(self, name: str) -> int:
        """Number of a class; a new one gets the next."""
        if name not in self._classes:
            number = max(self._classes.values()) + 1
            number += number == _IGNORED
            if number > _MAX_CLASS:
                raise OutputError(
                    f"--export mots holds {_MOST_CLASSES} classes, {name} is one more",
                    "use another format",
                )
            self._classes[name] = number
        return self._classes[name]

    def _finish(self) -> None:
        self._abandon()
        by_number = {number: name for name, number in self._classes.items()}
        by_number |= {_IGNORED: "ignored"} if max(by_number) > _IGNORED else {}
        names = "".join(f"{by_number[number]}\n" for number in sorted(by_number))
        (self.part / "instances" / "labels.txt").write_text(names, encoding="utf-8")
        info = sequence_info(self._source, self.length, self.size_hw)
        (self.part / "seqinfo.ini").write_text(info, encoding="utf-8")

    def _abandon(self) -> None:
        if self._file is not None:
            self._file.close()
