"""Masks as YOLO segmentation labels: a text file per frame, beside its picture."""

import math
from pathlib import Path

import yaml

from streams.frame import Frame
from tracker.exporters.base import ClassNames, ExportSource, Settings, class_names
from tracker.exporters.dataset import DatasetWriter, save_jpeg
from tracker.exporters.frame_name import frame_stem
from tracker.exporters.polygons import bridged, outlines
from tracker.types import TrackResult

_VAL_SHARE = 0.2


class YoloSegWriter(DatasetWriter):
    """Writes `images/SPLIT/*.jpg`, `labels/SPLIT/*.txt` and `data.yaml`.

    A line of a label is the class and one polygon, in parts of the picture's width and height.
    The last frames are the split `val`, the others `train`: a random choice would put frames that
    look alike into both. Parts and holes of an object are joined by bridges without area; ids and
    scores are not held.
    """

    def __init__(self, folder: Path, source: ExportSource, settings: Settings) -> None:
        """Write to `folder`."""
        super().__init__(folder)
        self._classes = ClassNames(class_names(source.labels))
        self._tolerance_px = settings.get("polygon_tolerance") or 0.0
        share = settings.get("yolo_val")
        self._val_share = _VAL_SHARE if share is None else share
        self._stems: list[str] = []

    def _begin(self) -> None:
        for kind in ("images", "labels"):
            for split in ("train", "val"):
                (self.part / kind / split).mkdir(parents=True)

    def _record(self, frame: Frame, result: TrackResult) -> None:
        height, width = frame.image.shape[:2]
        lines = []
        for item in result.objects:
            if item.box_xyxy is None:
                continue
            ring = bridged(outlines(item.mask_hw, item.box_xyxy, self._tolerance_px))
            points = " ".join(f"{x / width:.6g} {y / height:.6g}" for x, y in ring.tolist())
            lines.append(f"{self._classes.index(item.label)} {points}\n")
        stem = frame_stem(frame)
        save_jpeg(self.part / "images" / "train" / f"{stem}.jpg", frame.image)
        label = self.part / "labels" / "train" / f"{stem}.txt"
        label.write_text("".join(lines), encoding="ascii")
        self._stems.append(stem)

    def _finish(self) -> None:
        for stem in self._stems[math.ceil(self.length * (1 - self._val_share)) :]:
            for kind, suffix in (("images", ".jpg"), ("labels", ".txt")):
                file = self.part / kind / "train" / f"{stem}{suffix}"
                file.rename(self.part / kind / "val" / file.name)
        content = {
            "path": ".",
            "train": "images/train",
            "val": "images/val",
            "names": dict(enumerate(self._classes.names)),
        }
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        (self.part / "data.yaml").write_text(text, encoding="utf-8")
