"""Polygon zone: who is in it, debounced, and for how long."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from tracker.daemon.zones.changes import Change
from tracker.protocol.data import EventName, Leaving
from tracker.protocol.fields import XY
from tracker.protocol.replies import ZoneCounts


@dataclass(slots=True)
class _Visit:
    """One object and the zone.

    Attributes:
        inside: It is in the zone, as last confirmed.
        since_s: From when on, by the monotonic clock.
        streak: Frames in a row on which it was seen on the other side.
        turned_s: Time of the first of these.
        dwelled: That it dwells was told.
    """

    inside: bool = False
    since_s: float = 0.0
    streak: int = 0
    turned_s: float = 0.0
    dwelled: bool = False


class PolygonZone:
    """Objects in a polygon; it holds one visit for each object that it was shown.

    Args:
        min_frames: Frames in a row that an object must be on the other side.
        dwell_s: Seconds after which an object dwells; None for never.
    """

    def __init__(self, min_frames: int, dwell_s: float | None) -> None:
        self._min_frames = min_frames
        self._dwell_s = dwell_s
        self._visits: dict[int, _Visit] = {}
        self._quiet: set[int] = set()

    @property
    def object_ids(self) -> list[int]:
        """Objects that it knows."""
        return list(self._visits)

    def counts(self, name: str) -> ZoneCounts:
        """Objects inside."""
        return ZoneCounts(zone=name, count=sum(one.inside for one in self._visits.values()))

    def restart(self, quiet: Iterable[int]) -> None:
        """Forget all; objects of the ids `quiet` are not told to enter where they are found."""
        self._visits.clear()
        self._quiet = set(quiet)

    def see(self, object_id: int, point: XY, polygon_n2: np.ndarray, now_s: float) -> Change | None:
        """Take in the anchor of an object on a new frame; polygon in pixels, float32 [N, 2]."""
        inside = cv2.pointPolygonTest(polygon_n2, point, measureDist=False) >= 0
        visit = self._visits.get(object_id)
        if visit is None:
            found = inside and object_id in self._quiet
            visit = self._visits[object_id] = _Visit(found, now_s)
        self._quiet.discard(object_id)
        if inside is visit.inside:
            visit.streak = 0
            return None
        if visit.streak == 0:
            visit.turned_s = now_s
        visit.streak += 1
        if visit.streak < self._min_frames:
            return None
        if visit.inside:
            dwell_s = visit.turned_s - visit.since_s
            self._visits[object_id] = _Visit()
            return Change(EventName.ZONE_LEFT, object_id, dwell_s=dwell_s, reason=Leaving.MOVED)
        self._visits[object_id] = _Visit(True, visit.turned_s)
        return Change(EventName.ZONE_ENTERED, object_id)

    def forget(self, object_id: int, reason: Leaving, now_s: float) -> Change | None:
        """Take in that an object is gone, from wherever it was."""
        visit = self._visits.pop(object_id, None)
        if visit is None or not visit.inside:
            return None
        dwell_s = now_s - visit.since_s
        return Change(EventName.ZONE_LEFT, object_id, dwell_s=dwell_s, reason=reason)

    def dwelling(self, now_s: float) -> Iterator[Change]:
        """Objects that are inside for `dwell_s` just now."""
        if self._dwell_s is None:
            return
        for object_id, visit in self._visits.items():
            dwell_s = now_s - visit.since_s
            if visit.inside and not visit.dwelled and not visit.streak and dwell_s >= self._dwell_s:
                visit.dwelled = True
                yield Change(EventName.ZONE_DWELLED, object_id, dwell_s=dwell_s)
