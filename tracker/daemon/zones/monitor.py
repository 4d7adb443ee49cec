"""Monitor of the zones and lines of one stream: from tracked frames to events.

Only new frames are looked at, each once: a correction of an old frame makes no event of its own.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from tracker.daemon.messages import Event, LiveFrame
from tracker.daemon.tracking.anchors import anchor_of
from tracker.daemon.zones.changes import Change
from tracker.daemon.zones.line import Line
from tracker.daemon.zones.polygon import PolygonZone
from tracker.protocol.data import EventName, Leaving, ZoneEvent
from tracker.protocol.fields import XY, Anchor, ZoneSettings
from tracker.protocol.replies import ZoneCounts
from tracker.types import ObjectResult, ObjectState


class ZoneMonitor:
    """The zones of a stream, and the objects there; belongs to the thread that tracks.

    It holds a few numbers for each object in each zone, and forgets objects that are gone.

    Attributes:
        counts: Of each zone, put in place whole: from any thread.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._zones: dict[str, _Zone] = {}
        self._labels: dict[int, str | None] = {}  # of the frame before, too: who is gone had one
        self.counts: tuple[ZoneCounts, ...] = ()

    def set_zones(self, zones: Mapping[str, ZoneSettings]) -> list[Event]:
        """Watch these from now on; one that stays as it was goes on."""
        gone = self._zones.keys() - zones.keys()
        fresh = [
            name
            for name, settings in zones.items()
            if name not in self._zones or self._zones[name].settings != settings
        ]
        kept = {name: self._zones[name] for name in zones if name not in fresh}
        self._zones = {name: kept.get(name) or _Zone(name, zones[name]) for name in zones}
        self._count()
        return [
            *(self._event(EventName.ZONE_REMOVED, ZoneEvent(name=name)) for name in sorted(gone)),
            *(self._event(EventName.ZONE_SET, self._zones[name].event()) for name in fresh),
        ]

    def restart(self, object_ids: Iterable[int]) -> None:
        """Begin again, after these objects were put back: they enter no zone that they are in."""
        quiet = frozenset(object_ids)
        for zone in self._zones.values():
            zone.restart(quiet)
        self._count()

    def update(self, live: LiveFrame, objects: Sequence[ObjectResult]) -> list[Event]:
        """Events of the next frame, given all objects on it."""
        labels = {obj.id: obj.label for obj in objects}
        known = self._labels | labels
        events, anchors = [], _Anchors()
        for zone in self._zones.values():
            for change in zone.update(live, objects, anchors):
                label = known.get(change.object_id)
                events.append(self._event(change.name, zone.event(change), live, change, label))
            if zone.count_changed():
                events.append(self._event(EventName.ZONE_COUNT, zone.event(), live))
        self._labels = labels
        self._count()
        return events

    def _count(self) -> None:
        self.counts = tuple(zone.counts for zone in self._zones.values())

    def _event(
        self,
        name: EventName,
        zone: ZoneEvent,
        live: LiveFrame | None = None,
        change: Change | None = None,
        label: str | None = None,
    ) -> Event:
        return Event(
            self._stream,
            name,
            time.time_ns(),
            frame_seq=None if live is None else live.frame.seq,
            captured_ns=None if live is None else live.frame.captured_ns,
            object_id=None if change is None else change.object_id,
            label=label,
            text=_text(name, zone, change, label),
            zone=zone,
        )


class _Anchors:
    """Anchors of the objects on one frame, each computed once, however many zones ask for it."""

    def __init__(self) -> None:
        self._points: dict[tuple[int, Anchor], XY | None] = {}

    def of(self, obj: ObjectResult, anchor: Anchor) -> XY | None:
        """See `anchor_of`."""
        key = (obj.id, anchor)
        if key not in self._points:
            self._points[key] = anchor_of(obj, anchor)
        return self._points[key]


class _Zone:
    """A polygon or line with its settings, and what of it was told."""

    def __init__(self, name: str, settings: ZoneSettings) -> None:
        self.settings = settings
        self._name = name
        self._size = (0, 0)
        self._polygon_n2 = np.empty((0, 2), np.float32)
        self._told: int | None = None
        self._shape = self._new_shape()

    def _new_shape(self) -> PolygonZone | Line:
        settings = self.settings
        if settings.polygon is None:
            return Line(settings.min_frames)
        return PolygonZone(settings.min_frames, settings.dwell_s)

    @property
    def counts(self) -> ZoneCounts:
        return self._shape.counts(self._name)

    def restart(self, quiet: Iterable[int]) -> None:
        self._shape.restart(quiet)
        self._told = None

    def count_changed(self) -> bool:
        """True if the count of a polygon is not what it last was when asked."""
        count = self.counts.count
        changed = count != self._told
        self._told = count
        return changed

    def event(self, change: Change | None = None) -> ZoneEvent:
        """How it stands, and a change of it."""
        counts = self.counts
        return ZoneEvent(
            name=self._name,
            count=counts.count,
            crossed_in=counts.crossed_in,
            crossed_out=counts.crossed_out,
            direction=None if change is None else change.direction,
            dwell_s=None if change is None or change.dwell_s is None else round(change.dwell_s, 3),
            reason=None if change is None else change.reason,
        )

    def update(
        self, live: LiveFrame, objects: Sequence[ObjectResult], anchors: _Anchors
    ) -> Iterator[Change]:
        """Take in a frame; each change is given before the next is made."""
        now_s = live.arrived_s
        watched = [obj for obj in objects if self._watches(obj)]
        present = {obj.id for obj in watched}
        for object_id in self._shape.object_ids:
            if object_id not in present:
                yield from _some(self._shape.forget(object_id, Leaving.REMOVED, now_s))
        for obj in watched:
            if obj.state is ObjectState.LOST:
                yield from _some(self._shape.forget(obj.id, Leaving.LOST, now_s))
            else:
                point = anchors.of(obj, self.settings.anchor)
                yield from _some(self._see(obj.id, point, live))
        yield from self._shape.dwelling(now_s)

    def _watches(self, obj: ObjectResult) -> bool:
        of_label = not self.settings.labels or obj.label in self.settings.labels
        return of_label and (not self.settings.objects or obj.id in self.settings.objects)

    def _see(self, object_id: int, point: XY | None, live: LiveFrame) -> Change | None:
        if point is None:
            return None  # it stays where it was
        points_n2 = self._in_pixels(*live.frame.image.shape[:2])
        if isinstance(self._shape, PolygonZone):
            return self._shape.see(object_id, point, points_n2, live.arrived_s)
        (x0, y0), (x1, y1) = points_n2.tolist()
        return self._shape.see(object_id, point, ((x0, y0), (x1, y1)), live.arrived_s)

    def _in_pixels(self, height: int, width: int) -> np.ndarray:
        """Its points, float32 [N, 2], on a frame of this size."""
        if self._size != (height, width):
            self._size = (height, width)
            scale = (width, height) if self.settings.normalized else (1, 1)
            points = self.settings.polygon or self.settings.line
            self._polygon_n2 = (np.array(points) * scale).astype(np.float32)
        return self._polygon_n2


def _some(change: Change | None) -> Iterator[Change]:
    if change is not None:
        yield change


def _text(name: EventName, zone: ZoneEvent, change: Change | None, label: str | None) -> str:
    """The event for people."""
    if change is None:
        counted = name is EventName.ZONE_COUNT
        return f"{zone.count} in {zone.name}" if counted else f"{name.value} {zone.name}"
    who = label or f"object {change.object_id}"
    match name:
        case EventName.LINE_CROSSED:
            return f"{who} crossed {zone.name} ({change.direction})"
        case EventName.ZONE_DWELLED:
            return f"{who} is in {zone.name} for {zone.dwell_s:.0f} s"
        case EventName.ZONE_ENTERED:
            return f"{who} entered {zone.name}"
    return f"{who} left {zone.name} ({change.reason})"
