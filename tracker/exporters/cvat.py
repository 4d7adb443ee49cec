"""Masks as tracks of CVAT: its XML for video, version 1.1."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOBase
from pathlib import Path
from typing import IO, Any, cast
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

import numpy as np

from streams.frame import Frame
from tracker.errors import UsageError
from tracker.exporters.base import ExportSource, Labels, Settings, class_names
from tracker.exporters.polygons import bridged, outlines
from tracker.exporters.spooled import ObjectSpool, SpooledExport
from tracker.types import ObjectResult, ObjectState, TrackResult

_COLOURS = ("#fa3253", "#33ddff", "#ffcc33", "#34d1b7", "#b83df5", "#ff6037", "#32b76c", "#2a7dd1")
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def check_labels(labels: Labels) -> None:
    """Check that XML can hold each label.

    Raises:
        UsageError: One has control characters in it.
    """
    for object_id, label in labels.items():
        if label is not None and _NOT_IN_XML.search(label):
            raise UsageError(
                f"--export cvat holds no control characters: {label!r} of object {object_id}",
                "name it in plain letters",
            )


class CvatWriter(SpooledExport):
    """A track per object, of polygons or of masks in CVAT's run lengths.

    A shape that differs from the one before is a keyframe. Where an object is out of sight, its
    last shape is there once more, with `outside`. A track has one shape a frame: parts and holes
    of a polygon are joined by bridges without area.
    """

    def __init__(self, path: Path, source: ExportSource, settings: Settings) -> None:
        """Write to `path`."""
        super().__init__(path, source.name)
        self._known = source.labels
        self._as_masks = settings.get("shapes") == "mask"
        self._tolerance_px = settings.get("polygon_tolerance") or 0.0
        self._tracks: ObjectSpool | None = None
        self._size_hw = (0, 0)
        self._first_frame = self._last_frame = 0

    def _record(self, frame: Frame, result: TrackResult) -> None:
        if self._tracks is None:
            self._tracks = ObjectSpool(self._path.parent)
            self._size_hw = (frame.image.shape[0], frame.image.shape[1])
            self._first_frame = frame.seq
        self._last_frame = frame.seq
        for item in result.objects:
            if item.box_xyxy is None:
                continue
            shape = self._shape(item, item.box_xyxy)
            occluded = item.state is ObjectState.OCCLUDED
            record = {"index": self._length, "frame": frame.seq, "occluded": int(occluded)}
            self._tracks.add(item.id, record | {"shape": shape})

    def _shape(self, item: ObjectResult, box_xyxy: tuple[int, int, int, int]) -> dict[str, str]:
        x0, y0, x1, y1 = box_xyxy
        if not self._as_masks:
            ring = bridged(outlines(item.mask_hw, box_xyxy, self._tolerance_px))
            return {"points": ";".join(f"{x}.0,{y}.0" for x, y in ring.tolist())}
        flat = item.mask_hw[y0:y1, x0:x1].ravel()
        edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        runs = np.diff(edges, prepend=0, append=len(flat)).tolist()
        runs = [0, *runs] if flat[0] else runs  # the first run is of background
        box = {"left": x0, "top": y0, "width": x1 - x0, "height": y1 - y0}
        return {"rle": ", ".join(map(str, runs))} | {key: str(box[key]) for key in box}

    def _forget(self) -> None:
        if self._tracks is not None:
            self._tracks.close()

    def _assemble(self, out: IO[str]) -> None:
        assert self._tracks is not None
        xml = _Xml(out)
        with xml.element("annotations"):
            xml.text("version", "1.1")
            with xml.element("meta"), xml.element("task"):
                self._write_task(xml)
            for object_id in self._tracks.object_ids:
                label = self._labels[object_id]
                with xml.element("track", id=object_id, label=label, source="semi-auto"):
                    self._write_track(xml, self._tracks.records(object_id))

    def _write_task(self, xml: "_Xml") -> None:
        height, width = self._size_hw
        values = {
            "name": self._source_name,
            "size": self._last_frame + 1,
            "mode": "interpolation",
            "start_frame": self._first_frame,
            "stop_frame": self._last_frame,
        }
        for key, value in values.items():
            xml.text(key, value)
        with xml.element("labels"):
            for index, name in enumerate(class_names({**self._known, **self._labels})):
                with xml.element("label"):
                    xml.text("name", name)
                    xml.text("color", _COLOURS[index % len(_COLOURS)])
                    xml.text("attributes", "")
        with xml.element("original_size"):
            xml.text("width", width)
            xml.text("height", height)

    def _write_track(self, xml: "_Xml", records: Iterable[dict[str, Any]]) -> None:
        before: dict[str, Any] | None = None
        for record in records:
            if before is not None and record["index"] > before["index"] + 1:
                self._write_shape(xml, before | {"frame": before["frame"] + 1}, outside=1)
                before = None
            changed = before is None or record["shape"] != before["shape"]
            self._write_shape(xml, record, keyframe=int(changed))
            before = record
        if before is not None and before["index"] < self._length - 1:
            self._write_shape(xml, before | {"frame": before["frame"] + 1}, outside=1)

    def _write_shape(
        self, xml: "_Xml", record: dict[str, Any], *, keyframe: int = 1, outside: int = 0
    ) -> None:
        states = {"keyframe": keyframe, "outside": outside, "occluded": record["occluded"]}
        name = "mask" if self._as_masks else "polygon"
        with xml.element(name, frame=record["frame"], **states, **record["shape"], z_order=0):
            pass


class _Xml:
    """XML, one element to a line."""

    def __init__(self, out: IO[str]) -> None:
        self._xml = XMLGenerator(cast(TextIOBase, out), "utf-8", short_empty_elements=True)
        self._xml.startDocument()
        self._depth = 0
        self._has_children = False

    @contextmanager
    def element(self, name: str, **attributes: object) -> Iterator[None]:
        self._line()
        self._xml.startElement(name, _strings(attributes))
        self._depth += 1
        self._has_children = False
        yield
        self._depth -= 1
        if self._has_children:
            self._line()
        self._has_children = True
        self._xml.endElement(name)

    def text(self, name: str, value: object) -> None:
        with self.element(name):
            self._xml.characters(str(value))

    def _line(self) -> None:
        self._xml.ignorableWhitespace("\n" + "  " * self._depth if self._depth else "")


def _strings(attributes: dict[str, object]) -> AttributesImpl:
    return AttributesImpl({key: str(value) for key, value in attributes.items()})
