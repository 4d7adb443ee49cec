"""Masks as one JSON file in the style of YouTube-VIS: COCO annotations over time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from streams.frame import Frame
from tracker.exporters.spooled import Spool, SpooledExport, segmentation_of, write_list
from tracker.types import ObjectResult, TrackResult


class _Track:
    """One object's records."""

    def __init__(self, object_id: int, folder: Path) -> None:
        self.id = object_id
        self._score_sum = 0.0
        self._spool = Spool(folder)
        self.close = self._spool.close

    def add(self, index: int, item: ObjectResult) -> None:
        """Record the object on the frame at `index` of the output."""
        if item.box_xyxy is None:
            return
        x0, y0, x1, y1 = item.box_xyxy
        self._spool.add(
            {
                "index": index,
                "segmentations": segmentation_of(item),
                "bboxes": [x0, y0, x1 - x0, y1 - y0],
                "areas": int(item.mask_hw.sum()),
            }
        )
        self._score_sum += item.score

    @property
    def score(self) -> float:
        """Mean presence score over the frames with a mask."""
        seen = self._spool.count
        return round(self._score_sum / seen, 6) if seen else 0.0

    def column(self, key: str, length: int) -> Iterator[Any]:
        """One value per frame of the output, None where the object is not."""
        index = 0
        for record in self._spool:
            yield from (None for _ in range(index, record["index"]))
            yield record[key]
            index = record["index"] + 1
        yield from (None for _ in range(index, length))


class CocoWriter(SpooledExport):
    """One annotation per object, with lists over the frames that were written.

    Beside `file_names`, the video lists the `frames` by their numbers in the source and, unless
    they are pictures, `times_s`, their times in seconds on the source's clock.
    """

    def __init__(self, path: Path, source_name: str) -> None:
        """Write to `path`; frames are called `SOURCE_NAME/FILE`, or by number in a video."""
        super().__init__(path, source_name)
        self._tracks: dict[int, _Track] = {}
        self._frames: Spool | None = None
        self._size_hw = (0, 0)
        self._has_times = False

    def _record(self, frame: Frame, result: TrackResult) -> None:
        if self._frames is None:
            self._frames = Spool(self._path.parent)
            self._size_hw = (frame.image.shape[0], frame.image.shape[1])
            self._has_times = frame.name is None
        self._frames.add(
            {"file_names": self._file_name(frame), "frames": frame.seq, "times_s": frame.time_s}
        )
        for item in result.objects:
            if item.id not in self._tracks:
                self._tracks[item.id] = _Track(item.id, self._path.parent)
            self._tracks[item.id].add(self._length, item)

    def _forget(self) -> None:
        if self._frames is not None:
            self._frames.close()
        for track in self._tracks.values():
            track.close()

    def _assemble(self, out: IO[str]) -> None:
        tracks = [self._tracks[key] for key in sorted(self._tracks)]
        category_ids = self._category_ids
        out.write('{"info": {"description": "Tracked by trackd"}, "videos": [')
        self._write_video(out)
        out.write(f'], "categories": {json.dumps(self._categories)}, "annotations": [')
        for position, track in enumerate(tracks):
            out.write(",\n" if position else "\n")
            self._write_annotation(out, track, category_ids[self._labels[track.id]])
        out.write("\n]}\n")

    def _write_video(self, out: IO[str]) -> None:
        height, width = self._size_hw
        head = {"id": 1, "width": width, "height": height, "length": self._length}
        keys = ("file_names", "frames", *(["times_s"] * self._has_times))
        _write_object(out, head, {key: self._frame_column(key) for key in keys})

    def _frame_column(self, key: str) -> Iterator[Any]:
        return (record[key] for record in self._frames or ())

    def _write_annotation(self, out: IO[str], track: _Track, category_id: int) -> None:
        height, width = self._size_hw
        head = {
            "id": track.id,
            "video_id": 1,
            "category_id": category_id,
            "iscrowd": 0,
            "score": track.score,
            "width": width,
            "height": height,
            "length": self._length,
        }
        keys = ("segmentations", "bboxes", "areas")
        _write_object(out, head, {key: track.column(key, self._length) for key in keys})


def _write_object(out: IO[str], head: dict[str, Any], lists: dict[str, Iterator[Any]]) -> None:
    """Write one JSON object: `head`, then the lists, one element at a time."""
    out.write(json.dumps(head)[:-1])
    for key, values in lists.items():
        out.write(f", {json.dumps(key)}: ")
        write_list(out, values)
    out.write("}")
