"""Masks as one JSON file of COCO instances: each frame an image, each mask an annotation."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from streams.frame import Frame
from tracker.exporters.spooled import Spool, SpooledExport, segmentation_of, write_list
from tracker.types import TrackResult


class CocoFramesWriter(SpooledExport):
    """COCO instances, as `pycocotools.coco.COCO` loads them: images, annotations, categories.

    Beside COCO's own keys an image has `frame`, its number in the source, and, unless it is a
    picture, `time_s`, its time in seconds on the source's clock; an annotation has `track_id`,
    the object's id, and `score`.
    """

    def __init__(self, path: Path, source_name: str) -> None:
        """Write to `path`; images are called `SOURCE_NAME/FILE`, or by number in a video."""
        super().__init__(path, source_name)
        self._images: Spool | None = None
        self._annotations: Spool | None = None

    def _record(self, frame: Frame, result: TrackResult) -> None:
        if self._images is None or self._annotations is None:
            self._images = Spool(self._path.parent)
            self._annotations = Spool(self._path.parent)
        image_id = self._length + 1
        height, width = frame.image.shape[:2]
        image = {
            "id": image_id,
            "file_name": self._file_name(frame),
            "width": width,
            "height": height,
            "frame": frame.seq,
        }
        self._images.add(image | ({"time_s": frame.time_s} if frame.name is None else {}))
        for item in result.objects:
            if item.box_xyxy is None:
                continue
            x0, y0, x1, y1 = item.box_xyxy
            annotation = {
                "id": self._annotations.count + 1,  # COCO's evaluation takes 0 for no match
                "image_id": image_id,
                "track_id": item.id,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": int(item.mask_hw.sum()),
                "iscrowd": 0,
                "score": round(item.score, 6),
                "segmentation": segmentation_of(item),
            }
            if item.identity is not None:
                annotation["identity"] = round(item.identity, 3)  # more depends on the batch
            self._annotations.add(annotation)

    def _forget(self) -> None:
        for spool in (self._images, self._annotations):
            if spool is not None:
                spool.close()

    def _assemble(self, out: IO[str]) -> None:
        out.write('{"info": {"description": "Tracked by trackd"}, "licenses": [],\n"images": ')
        write_list(out, self._images or (), ",\n")
        out.write(f',\n"categories": {json.dumps(self._categories)},\n"annotations": ')
        write_list(out, self._categorized(), ",\n")
        out.write("}\n")

    def _categorized(self) -> Iterator[dict[str, Any]]:
        category_ids = self._category_ids
        for record in self._annotations or ():
            yield record | {"category_id": category_ids[self._labels[record["track_id"]]]}
