"""Masks as one JSON file in the style of YouTube-VIS: COCO annotations over time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from streams.frame import Frame
from tracker.exporters.spooled import ObjectSpool, Spool, SpooledExport, segmentation_of, write_list
from tracker.types import ObjectResult, TrackResult


class CocoWriter(SpooledExport):
    """One annotation per object, with lists over the frames that were written.

    Beside `file_names`, the video lists the `frames` by their numbers in the source and, unless
    they are pictures, `times_s`, their times in seconds on the source's clock.
    """

    def __init__(self, path: Path, source_name: str) -> None:
        """Write to `path`; frames are called `SOURCE_NAME/FILE`, or by number in a video."""
        super().__init__(path, source_name)
        self._tracks: ObjectSpool | None = None
        self._score_sums: dict[int, float] = {}  # of each object ever seen or announced
        self._frames: Spool | None = None
        self._size_hw = (0, 0)
        self._has_times = False

    def _record(self, frame: Frame, result: TrackResult) -> None:
        if self._frames is None or self._tracks is None:
            self._tracks = ObjectSpool(self._path.parent)
            self._frames = Spool(self._path.parent)
            self._size_hw = (frame.image.shape[0], frame.image.shape[1])
            self._has_times = frame.name is None
        self._frames.add(
            {"file_names": self._file_name(frame), "frames": frame.seq, "times_s": frame.time_s}
        )
        for item in result.objects:
            self._score_sums.setdefault(item.id, 0.0)
            if item.box_xyxy is not None:
                self._score_sums[item.id] += item.score
                self._tracks.add(item.id, _record_of(self._length, item, item.box_xyxy))

    def _forget(self) -> None:
        for spool in (self._frames, self._tracks):
            if spool is not None:
                spool.close()

    def _assemble(self, out: IO[str]) -> None:
        category_ids = self._category_ids
        out.write('{"info": {"description": "Tracked by trackd"}, "videos": [')
        self._write_video(out)
        out.write(f'], "categories": {json.dumps(self._categories)}, "annotations": [')
        for position, object_id in enumerate(sorted(self._score_sums)):
            out.write(",\n" if position else "\n")
            self._write_annotation(out, object_id, category_ids[self._labels[object_id]])
        out.write("\n]}\n")

    def _write_video(self, out: IO[str]) -> None:
        height, width = self._size_hw
        head = {"id": 1, "width": width, "height": height, "length": self._length}
        keys = ("file_names", "frames", *(["times_s"] * self._has_times))
        _write_object(out, head, {key: self._frame_column(key) for key in keys})

    def _frame_column(self, key: str) -> Iterator[Any]:
        return (record[key] for record in self._frames or ())

    def _write_annotation(self, out: IO[str], object_id: int, category_id: int) -> None:
        height, width = self._size_hw
        head = {
            "id": object_id,
            "video_id": 1,
            "category_id": category_id,
            "iscrowd": 0,
            "score": self._score(object_id),
            "width": width,
            "height": height,
            "length": self._length,
        }
        keys = ("segmentations", "bboxes", "areas")
        _write_object(out, head, {key: self._column(object_id, key) for key in keys})

    def _score(self, object_id: int) -> float:
        """Mean presence score over the frames with a mask."""
        assert self._tracks is not None
        seen = self._tracks.count(object_id)
        return round(self._score_sums[object_id] / seen, 6) if seen else 0.0

    def _column(self, object_id: int, key: str) -> Iterator[Any]:
        """One value per frame of the output, None where the object is not."""
        assert self._tracks is not None
        index = 0
        for record in self._tracks.records(object_id):
            yield from (None for _ in range(index, record["index"]))
            yield record[key]
            index = record["index"] + 1
        yield from (None for _ in range(index, self._length))


def _record_of(index: int, item: ObjectResult, box_xyxy: tuple[int, ...]) -> dict[str, Any]:
    """An object on the frame at `index` of the output."""
    x0, y0, x1, y1 = box_xyxy
    return {
        "index": index,
        "segmentations": segmentation_of(item),
        "bboxes": [x0, y0, x1 - x0, y1 - y0],
        "areas": int(item.mask_hw.sum()),
    }


def _write_object(out: IO[str], head: dict[str, Any], lists: dict[str, Iterator[Any]]) -> None:
    """Write one JSON object: `head`, then the lists, one element at a time."""
    out.write(json.dumps(head)[:-1])
    for key, values in lists.items():
        out.write(f", {json.dumps(key)}: ")
        write_list(out, values)
    out.write("}")
