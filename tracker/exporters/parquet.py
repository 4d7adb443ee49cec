"""Masks as an Apache Parquet table: a row per object and frame."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streams.frame import Frame
from tracker.errors import OutputError
from tracker.exporters.base import ExportSource
from tracker.rle import encode_rle
from tracker.types import ObjectResult, TrackResult

_ROWS_PER_GROUP = 4096  # in memory before they are written
_BOX = ("x0", "y0", "x1", "y1")
_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("frame", pa.int64()),
        pa.field("name", pa.string()),
        pa.field("time_s", pa.float64()),
        pa.field("object_id", pa.int32()),
        pa.field("label", pa.string()),
        pa.field("state", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("iou", pa.float32()),
        pa.field("identity", pa.float32()),
        *(pa.field(name, pa.int32()) for name in _BOX),
        pa.field("area", pa.int64()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("counts", pa.string()),
    ]
)


class ParquetWriter:
    """One table, objects out of sight included: their box, area and counts are null.

    `counts` are COCO's compressed run lengths of a mask of `height` x `width` pixels.
    """

    def __init__(self, path: Path, source: ExportSource) -> None:
        """Write to `path`."""
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._source = source
        self._rows: list[dict[str, Any]] = []
        self._table: pq.ParquetWriter | None = None
        self._length = 0

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Add the objects of one frame."""
        self._length += 1
        self._rows += [self._row(frame, item) for item in result.objects]
        if len(self._rows) >= _ROWS_PER_GROUP:
            with self._whole_or_nothing():
                self._flush()

    def close(self) -> None:
        """Write the rest and put the table in place."""
        if self._length == 0:
            return
        self._length = 0
        with self._whole_or_nothing():
            self._flush()
            if self._table is not None:
                self._table.close()
            self._part.replace(self._path)

    def _row(self, frame: Frame, item: ObjectResult) -> dict[str, Any]:
        height, width = item.mask_hw.shape
        row = {
            "source": self._source.name,
            "frame": frame.seq,
            "name": frame.name,
            "time_s": frame.time_s,
            "object_id": item.id,
            "label": item.label,
            "state": item.state.value,
            "score": item.score,
            "iou": None if math.isnan(item.iou) else item.iou,
            "identity": item.identity,
            "height": height,
            "width": width,
        }
        if item.box_xyxy is None:
            return row
        place = dict(zip(_BOX, item.box_xyxy, strict=True))
        counts = encode_rle(item.mask_hw).counts
        return row | place | {"area": int(item.mask_hw.sum()), "counts": counts}

    def _flush(self) -> None:
        if self._table is None:
            self._table = pq.ParquetWriter(str(self._part), _SCHEMA, compression="zstd")
        self._table.write_table(pa.Table.from_pylist(self._rows, schema=_SCHEMA))
        self._rows = []

    @contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._length = 0
            if self._table is not None:
                with suppress(OSError):
                    self._table.close()
            self._part.unlink(missing_ok=True)
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error
