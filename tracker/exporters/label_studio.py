"""Tasks of Label Studio: the video with its boxes, and its frames with brush masks."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from xml.sax.saxutils import quoteattr

from streams.frame import Frame
from tracker.exporters.base import UNNAMED, ExportSource, class_names
from tracker.exporters.brush_rle import encode_brush_rle
from tracker.exporters.dataset import DatasetWriter, save_jpeg
from tracker.exporters.frame_name import frame_stem
from tracker.exporters.spooled import ObjectSpool, write_list
from tracker.types import ObjectResult, TrackResult

_FILES = "/data/local-files/?d="


class LabelStudioWriter(DatasetWriter):
    """Writes `video.json`, `frames.json`, their labelling set-ups, and the frames as pictures.

    `video.json` is a task with a track of boxes per object, `frames.json` a task per frame with a
    brush mask per object, since Label Studio's videos hold no masks. Each has a set-up to paste
    into a project (`video.xml`, `frames.xml`). Files are named as its local storage serves them,
    from the folder that holds this one.
    """

    def __init__(self, folder: Path, source: ExportSource) -> None:
        """Write to `folder`."""
        super().__init__(folder)
        self._root = f"{_FILES}{folder.name}"
        self._source = source
        self._labels: dict[int, str] = {}
        self._tracks: ObjectSpool | None = None
        self._tasks: IO[str] | None = None

    def _begin(self) -> None:
        (self.part / "images").mkdir()
        self._tracks = ObjectSpool(self.part)
        self._tasks = (self.part / "frames.json").open("w", encoding="utf-8")

    def _record(self, frame: Frame, result: TrackResult) -> None:
        assert self._tasks is not None
        name = f"{frame_stem(frame)}.jpg"
        save_jpeg(self.part / "images" / name, frame.image)
        masks = [_brush(item) for item in result.objects if item.box_xyxy is not None]
        task = {
            "data": {"image": f"{self._root}/images/{name}", "frame": frame.seq},
            "annotations": [{"result": masks}],
        }
        self._tasks.write(("[" if self.length == 0 else ",\n") + json.dumps(task))
        for item in result.objects:
            if item.box_xyxy is not None:
                self._add_to_track(item, item.box_xyxy, frame)

    def _add_to_track(
        self, item: ObjectResult, box_xyxy: tuple[int, int, int, int], frame: Frame
    ) -> None:
        assert self._tracks is not None
        self._labels.setdefault(item.id, item.label or UNNAMED)
        height, width = frame.image.shape[:2]
        x0, y0, x1, y1 = box_xyxy
        place = {
            "frame": frame.seq + 1,  # Label Studio counts from 1
            "x": 100 * x0 / width,
            "y": 100 * y0 / height,
            "width": 100 * (x1 - x0) / width,
            "height": 100 * (y1 - y0) / height,
            "rotation": 0,
            "time": frame.time_s,
        }
        self._tracks.add(item.id, {"index": self.length, "place": place})

    def _finish(self) -> None:
        assert self._tasks is not None
        self._tasks.write("]\n")
        with (self.part / "video.json").open("w", encoding="utf-8") as out:
            self._write_video(out)
        self._abandon()
        names = class_names({**self._source.labels, **self._labels})
        labels = "".join(f"<Label value={quoteattr(name)}/>" for name in names)
        video = '<Video name="video" value="$video"/><VideoRectangle name="box" toName="video"/>'
        picture = '<Image name="image" value="$image"/>'
        picture += f'<BrushLabels name="brush" toName="image">{labels}</BrushLabels>'
        video += f'<Labels name="label" toName="video">{labels}</Labels>'
        texts = {"video.xml": video, "frames.xml": picture}
        for name, text in texts.items():
            (self.part / name).write_text(f"<View>{text}</View>\n", encoding="utf-8")

    def _write_video(self, out: IO[str]) -> None:
        assert self._tracks is not None
        file = self._source.file
        data = {"video": _FILES + (self._source.name if file is None else file.name)}
        out.write(f'[{{"data": {json.dumps(data)}, "annotations": [{{"result": [')
        for position, object_id in enumerate(self._tracks.object_ids):
            head = {
                "id": f"object-{object_id}",
                "from_name": "box",
                "to_name": "video",
                "type": "videorectangle",
                "meta": {"object_id": object_id},
            }
            value = json.dumps({"framesCount": self.length, "labels": [self._labels[object_id]]})
            out.write((",\n" if position else "\n") + json.dumps(head)[:-1])
            out.write(f', "value": {value[:-1]}, "sequence": ')
            write_list(out, self._sequence(self._tracks.records(object_id)))
            out.write("}}")
        out.write("]}]}]\n")

    def _sequence(self, records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Places of an object; after one that is not `enabled` it is out of sight."""
        before: dict[str, Any] | None = None
        for record in records:
            if before is not None:
                seen_next = record["index"] == before["index"] + 1
                yield before["place"] | {"enabled": seen_next}
            before = record
        if before is not None:
            yield before["place"] | {"enabled": before["index"] == self.length - 1}

    def _abandon(self) -> None:
        if self._tasks is not None:
            self._tasks.close()
        if self._tracks is not None:
            self._tracks.close()


def _brush(item: ObjectResult) -> dict[str, Any]:
    height, width = item.mask_hw.shape
    return {
        "id": f"object-{item.id}",
        "from_name": "brush",
        "to_name": "image",
        "type": "brushlabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": round(item.score, 6),
        "meta": {"object_id": item.id},
        "value": {
            "format": "rle",
            "rle": encode_brush_rle(item.mask_hw),
            "brushlabels": [item.label or UNNAMED],
        },
    }
