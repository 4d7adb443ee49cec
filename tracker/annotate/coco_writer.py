"""Masks as one JSON file in the style of YouTube-VIS: COCO annotations over time."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from streams.frame import Frame
from tracker.errors import OutputError
from tracker.rle import encode_rle
from tracker.types import ObjectResult, TrackResult

_UNNAMED = "object"
# Small tracks stay in memory; longer ones go to a nameless file beside the output.
_SPOOL_BYTES = 256 * 1024


class _Track:
    """One object's records, spooled to disk: memory does not grow with the video."""

    def __init__(self, object_id: int, folder: Path) -> None:
        self.id = object_id
        self.label = _UNNAMED
        self.seen = 0
        self._score_sum = 0.0
        self._spool = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by `close`
            _SPOOL_BYTES, mode="w+", encoding="ascii", dir=str(folder)
        )

    def add(self, index: int, item: ObjectResult) -> None:
        """Record the object on the frame at `index` of the output."""
        self.label = item.label or self.label
        if item.box_xyxy is None:
            return
        rle = encode_rle(item.mask_hw)
        x0, y0, x1, y1 = item.box_xyxy
        record = {
            "index": index,
            "segmentations": {"size": [rle.height, rle.width], "counts": rle.counts},
            "bboxes": [x0, y0, x1 - x0, y1 - y0],
            "areas": int(item.mask_hw.sum()),
        }
        self._spool.write(json.dumps(record) + "\n")
        self.seen += 1
        self._score_sum += item.score

    @property
    def score(self) -> float:
        """Mean presence score over the frames with a mask."""
        return round(self._score_sum / self.seen, 6) if self.seen else 0.0

    def column(self, key: str, length: int) -> Iterator[Any]:
        """One value per frame of the output, None where the object is not."""
        self._spool.seek(0)
        index = 0
        for line in self._spool:
            record = json.loads(line)
            yield from (None for _ in range(index, record["index"]))
            yield record[key]
            index = record["index"] + 1
        yield from (None for _ in range(index, length))

    def close(self) -> None:
        self._spool.close()


class CocoWriter:
    """Writes the JSON when it is closed: to a file beside it, then renamed."""

    def __init__(self, path: Path, video_name: str) -> None:
        """Write to `path`; frames are called `video_name/00000.jpg` and so on, by number."""
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._video_name = video_name
        self._tracks: dict[int, _Track] = {}
        self._length = 0
        self._first_frame = 0
        self._size_hw = (0, 0)
        self._closed = False

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Record the objects of one frame."""
        if self._length == 0:
            self._first_frame = frame.seq
            self._size_hw = (frame.image.shape[0], frame.image.shape[1])
        try:
            for item in result.objects:
                if item.id not in self._tracks:
                    self._tracks[item.id] = _Track(item.id, self._path.parent)
                self._tracks[item.id].add(self._length, item)
        except OSError as error:
            self._close_tracks()
            raise self._refused(error) from error
        self._length += 1

    def close(self) -> None:
        """Assemble the JSON and put it in place."""
        if self._length == 0 or self._closed:
            return
        try:
            with self._part.open("w", encoding="utf-8") as out:
                self._assemble(out)
            self._part.replace(self._path)
        except OSError as error:
            self._part.unlink(missing_ok=True)
            raise self._refused(error) from error
        finally:
            self._close_tracks()

    def _close_tracks(self) -> None:
        self._closed = True
        for track in self._tracks.values():
            track.close()

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self._path}: {error.strerror or error}")

    def _assemble(self, out: IO[str]) -> None:
        tracks = [self._tracks[key] for key in sorted(self._tracks)]
        names = sorted({track.label for track in tracks})
        category_ids = {name: index for index, name in enumerate(names, start=1)}
        categories = [
            {"id": index, "name": name, "supercategory": "object"}
            for name, index in category_ids.items()
        ]
        out.write('{"info": {"description": "Tracked by trackd"}, "videos": [')
        self._write_video(out)
        out.write(f'], "categories": {json.dumps(categories)}, "annotations": [')
        for position, track in enumerate(tracks):
            out.write(",\n" if position else "\n")
            self._write_annotation(out, track, category_ids[track.label])
        out.write("\n]}\n")

    def _write_video(self, out: IO[str]) -> None:
        height, width = self._size_hw
        head = {"id": 1, "width": width, "height": height, "length": self._length}
        frames = range(self._first_frame, self._first_frame + self._length)
        _write_object(
            out, head, {"file_names": (f"{self._video_name}/{frame:05d}.jpg" for frame in frames)}
        )

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
        out.write(f", {json.dumps(key)}: [")
        for position, value in enumerate(values):
            out.write((", " if position else "") + json.dumps(value))
        out.write("]")
    out.write("}")
