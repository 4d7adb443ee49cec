"""Velocities of objects: the Theil-Sen estimator over the centroids of the newest frames."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Self

from tracker.daemon.tracking.anchors import anchor_of
from tracker.protocol.fields import Anchor
from tracker.types import ObjectResult

WINDOW = 8  # frames of an object
MAX_AGE_NS = 2 * 10**9
LEAST = 3  # frames that a velocity takes


@dataclass(frozen=True, slots=True)
class Motion:
    """Velocity of an object in pixels a second, x to the right, y down.

    Attributes:
        observed_ns: `captured_ns` of the frame that it was last seen on.
    """

    x: float
    y: float
    observed_ns: int


@dataclass(frozen=True, slots=True)
class _Sighting:
    captured_ns: int
    x: float
    y: float


class MotionEstimator:
    """Where the objects of a stream were lately; holds `WINDOW` points of each, two seconds long.

    The median of the slopes between all pairs of points (Theil 1950, Sen 1968) stands up to a frame
    in four whose mask or time is off.
    """

    def __init__(self) -> None:
        self._seen: dict[int, deque[_Sighting]] = {}

    def update(self, captured_ns: int, objects: Sequence[ObjectResult]) -> dict[int, Motion]:
        """Take in the next frame; the velocities of objects that were seen often enough lately."""
        self._seen = {obj.id: self._seen.get(obj.id) or deque(maxlen=WINDOW) for obj in objects}
        for obj in objects:
            seen = self._seen[obj.id]
            while seen and not 0 < captured_ns - seen[0].captured_ns <= MAX_AGE_NS:
                seen.popleft()
            point = anchor_of(obj, Anchor.CENTER_OF_MASS)
            if point is not None:
                seen.append(_Sighting(captured_ns, *point))
        motions = {object_id: _motion(seen) for object_id, seen in self._seen.items()}
        return {object_id: motion for object_id, motion in motions.items() if motion is not None}

    @property
    def sightings(self) -> dict[int, tuple[tuple[int, float, float], ...]]:
        """What `resume` takes: (captured_ns, x, y) of each object, oldest first."""
        return {
            object_id: tuple((one.captured_ns, one.x, one.y) for one in seen)
            for object_id, seen in self._seen.items()
        }

    @classmethod
    def resume(cls, sightings: Mapping[int, Sequence[tuple[int, float, float]]]) -> Self:
        """An estimator that has seen the objects there."""
        estimator = cls()
        estimator._seen = {
            object_id: deque((_Sighting(*one) for one in seen), maxlen=WINDOW)
            for object_id, seen in sightings.items()
        }
        return estimator

    def forget(self, object_id: int) -> None:
        """Forget where an object was: what is known of it is no longer of the same thing."""
        self._seen.pop(object_id, None)


def _motion(seen: Sequence[_Sighting]) -> Motion | None:
    if len(seen) < LEAST:
        return None
    pairs = [
        (one, other, (other.captured_ns - one.captured_ns) / 1e9)
        for one, other in combinations(seen, 2)
        if other.captured_ns > one.captured_ns
    ]
    if not pairs:
        return None
    return Motion(
        median((other.x - one.x) / seconds for one, other, seconds in pairs),
        median((other.y - one.y) / seconds for one, other, seconds in pairs),
        seen[-1].captured_ns,
    )
