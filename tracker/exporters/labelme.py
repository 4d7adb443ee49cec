"""Masks as LabelMe files: a JSON per frame, beside its picture (Wada's labelme, version 5)."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from streams.frame import Frame
from tracker.exporters.base import UNNAMED, Settings
from tracker.exporters.dataset import DatasetWriter, save_jpeg
from tracker.exporters.frame_name import frame_stem
from tracker.exporters.polygons import bridged, outlines
from tracker.types import ObjectResult, TrackResult

_VERSION = "5.5.0"


class LabelmeWriter(DatasetWriter):
    """Writes `NAME.jpg` and `NAME.json` per frame.

    An object is a polygon for each of its parts, holes joined by bridges without area; or, where
    that is asked for, a shape of type `mask`. `group_id` is the object's id.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Write to `folder`."""
        super().__init__(folder)
        self._as_masks = settings.get("shapes") == "mask"
        self._tolerance_px = settings.get("polygon_tolerance") or 0.0

    def _begin(self) -> None:
        """The folder itself holds all files."""

    def _record(self, frame: Frame, result: TrackResult) -> None:
        height, width = frame.image.shape[:2]
        stem = frame_stem(frame)
        content = {
            "version": _VERSION,
            "flags": {},
            "shapes": [shape for item in result.objects for shape in self._shapes(item)],
            "imagePath": f"{stem}.jpg",
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        save_jpeg(self.part / f"{stem}.jpg", frame.image)
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (self.part / f"{stem}.json").write_text(text, encoding="utf-8")

    def _finish(self) -> None:
        """Every frame is whole already."""

    def _shapes(self, item: ObjectResult) -> Iterator[dict[str, Any]]:
        if item.box_xyxy is None:
            return
        shape = {
            "label": item.label or UNNAMED,
            "group_id": item.id,
            "description": f"score {item.score:.6f}",
            "flags": {},
        }
        if self._as_masks:
            yield shape | {"shape_type": "mask"} | _mask(item, item.box_xyxy)
            return
        for part in outlines(item.mask_hw, item.box_xyxy, self._tolerance_px):
            points = [[float(x), float(y)] for x, y in bridged([part]).tolist()]
            yield shape | {"shape_type": "polygon", "points": points, "mask": None}


def _mask(item: ObjectResult, box_xyxy: tuple[int, int, int, int]) -> dict[str, Any]:
    """The first and the last pixel of the mask's box, and the mask in it as PNG."""
    x0, y0, x1, y1 = box_xyxy
    data = io.BytesIO()
    Image.fromarray(item.mask_hw[y0:y1, x0:x1]).save(data, format="PNG")
    text = base64.b64encode(data.getvalue()).decode("ascii")
    corners = [[float(x0), float(y0)], [float(x1 - 1), float(y1 - 1)]]
    return {"points": corners, "mask": text}
