"""Text files that grow with the video, while memory does not: JSON, XML."""

import json
import tempfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from streams.frame import Frame
from tracker.errors import OutputError
from tracker.exporters.base import UNNAMED
from tracker.rle import encode_rle
from tracker.types import ObjectResult, TrackResult

#: Records that stay in memory before a spool goes to disk, in bytes.
SPOOL_BYTES = 256 * 1024


class Spool:
    """JSON records, appended one by one, then read back by their offsets or in the same order."""

    def __init__(self, folder: Path) -> None:
        """Hold `SPOOL_BYTES` in memory; what goes beyond, in a nameless file in `folder`."""
        self.count = 0
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by `close`
            SPOOL_BYTES, mode="w+b", dir=str(folder)
        )
        self._nbytes = 0

    def add(self, record: dict[str, Any]) -> int:
        """Append a record and give its offset; raises `OSError` where the disk is full."""
        offset, line = self._nbytes, json.dumps(record).encode("ascii") + b"\n"
        self._file.write(line)
        self._nbytes += len(line)
        self.count += 1
        return offset

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All records, from the first."""
        self._file.seek(0)
        for line in self._file:
            yield json.loads(line)

    def at(self, offsets: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The records at these offsets."""
        for offset in offsets:
            self._file.seek(offset)
            yield json.loads(self._file.readline())

    def close(self) -> None:
        """Forget them."""
        self._file.close()


class ObjectSpool:
    """Records of many objects in one spool, read back object by object."""

    def __init__(self, folder: Path) -> None:
        """Hold them as `Spool` does."""
        self._spool = Spool(folder)
        self._offsets: dict[int, array[int]] = {}
        self.close = self._spool.close

    def add(self, object_id: int, record: dict[str, Any]) -> None:
        """Append a record of an object; raises `OSError` where the disk is full."""
        offset = self._spool.add(record)
        self._offsets.setdefault(object_id, array("q")).append(offset)

    @property
    def object_ids(self) -> list[int]:
        """Objects that have a record, ascending."""
        return sorted(self._offsets)

    def count(self, object_id: int) -> int:
        """Number of an object's records."""
        return len(self._offsets.get(object_id, ()))

    def records(self, object_id: int) -> Iterator[dict[str, Any]]:
        """An object's records, from the first."""
        return self._spool.at(self._offsets.get(object_id, ()))


class SpooledExport(ABC):
    """A writer whose file is put together when it is closed: beside it, then renamed."""

    def __init__(self, path: Path, source_name: str) -> None:
        """Write to `path`; `source_name` is what the frames are called together."""
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._source_name = source_name
        self._labels: dict[int, str] = {}
        self._length = 0
        self._closed = False

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Record the objects of one frame."""
        for item in result.objects:
            self._labels[item.id] = item.label or self._labels.get(item.id, UNNAMED)
        try:
            self._record(frame, result)
        except OSError as error:
            self._closed = True
            self._forget()
            raise self._refused(error) from error
        self._length += 1

    def close(self) -> None:
        """Assemble the file and put it in place."""
        if self._length == 0 or self._closed:
            return
        self._closed = True
        try:
            with self._part.open("w", encoding="utf-8") as out:
                self._assemble(out)
            self._part.replace(self._path)
        except OSError as error:
            self._part.unlink(missing_ok=True)
            raise self._refused(error) from error
        finally:
            self._forget()

    @abstractmethod
    def _record(self, frame: Frame, result: TrackResult) -> None:
        """Spool what is to be written of one frame; `_length` frames came before it."""

    @abstractmethod
    def _assemble(self, out: IO[str]) -> None:
        """Write the whole file."""

    @abstractmethod
    def _forget(self) -> None:
        """Close the spools."""

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self._path}: {error.strerror or error}")

    def _file_name(self, frame: Frame) -> str:
        """The picture's file, or what a frame of a video is called, in the folder of the source."""
        name = f"{frame.seq:05d}.jpg" if frame.name is None else frame.name
        return f"{self._source_name}/{name}" if self._source_name else name

    @property
    def _category_ids(self) -> dict[str, int]:
        """A category for each label."""
        return {name: index for index, name in enumerate(sorted(set(self._labels.values())), 1)}

    @property
    def _categories(self) -> list[dict[str, Any]]:
        return [
            {"id": index, "name": name, "supercategory": "object"}
            for name, index in self._category_ids.items()
        ]


def segmentation_of(item: ObjectResult) -> dict[str, Any]:
    """A mask as COCO's compressed RLE."""
    rle = encode_rle(item.mask_hw)
    return {"size": [rle.height, rle.width], "counts": rle.counts}


def write_list(out: IO[str], values: Iterable[Any], separator: str = ", ") -> None:
    """Write a JSON list, one element at a time."""
    out.write("[")
    for position, value in enumerate(values):
        out.write((separator if position else "") + json.dumps(value))
    out.write("]")
