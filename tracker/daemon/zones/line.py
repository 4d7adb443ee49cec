"""Line: crossings of it in both directions, debounced."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tracker.daemon.zones.changes import Change
from tracker.protocol.data import EventName, Leaving
from tracker.protocol.fields import XY
from tracker.protocol.replies import ZoneCounts

Segment = tuple[XY, XY]


@dataclass(slots=True)
class _Side:
    """One object and the line.

    Attributes:
        left: It is to the left of the line, as last confirmed.
        at: Where it was last seen there.
        streak: Frames in a row on which it was seen on the other side.
        through: It came there through the line, not around an end of it.
    """

    left: bool
    at: XY
    streak: int = 0
    through: bool = False


class Line:
    """Crossings of a line by objects; it holds one side for each object that it was shown.

    Directions are those of `supervision.LineZone`; an object that goes around an end of the line
    does not cross it.

    Args:
        min_frames: Frames in a row that an object must be on the other side.
    """

    def __init__(self, min_frames: int) -> None:
        self._min_frames = min_frames
        self._sides: dict[int, _Side] = {}
        self._crossed_in = 0
        self._crossed_out = 0

    @property
    def object_ids(self) -> list[int]:
        """Objects that it knows."""
        return list(self._sides)

    def counts(self, name: str) -> ZoneCounts:
        """Crossings so far."""
        return ZoneCounts(zone=name, crossed_in=self._crossed_in, crossed_out=self._crossed_out)

    def restart(self, quiet: Iterable[int]) -> None:
        """Forget all, the counts too; an object that is found somewhere crosses nothing."""
        self._sides.clear()
        self._crossed_in = self._crossed_out = 0

    def see(self, object_id: int, point: XY, line: Segment, now_s: float) -> Change | None:
        """Take in the anchor of an object on a new frame; line in pixels."""
        turn = _turn(*line, point)
        if turn == 0:
            return None  # on the line itself
        side = self._sides.setdefault(object_id, _Side(turn < 0, point))
        if (turn < 0) is side.left:
            side.at, side.streak = point, 0
            return None
        if side.streak == 0:
            side.through = _turn(side.at, point, line[0]) * _turn(side.at, point, line[1]) <= 0
        side.streak += 1
        if side.streak < self._min_frames:
            return None
        self._sides[object_id] = _Side(turn < 0, point)
        return self._crossed(object_id, left=turn < 0) if side.through else None

    def forget(self, object_id: int, reason: Leaving, now_s: float) -> Change | None:
        """Take in that an object is gone: where it comes back it has crossed nothing."""
        self._sides.pop(object_id, None)
        return None

    def dwelling(self, now_s: float) -> Iterator[Change]:
        """Nobody dwells on a line."""
        return iter(())

    def _crossed(self, object_id: int, *, left: bool) -> Change:
        self._crossed_in += left
        self._crossed_out += not left
        return Change(EventName.LINE_CROSSED, object_id, direction="in" if left else "out")


def _turn(start: XY, end: XY, point: XY) -> float:
    """Cross product of end - start and point - start: below 0 to the left, with y down."""
    (x0, y0), (x1, y1), (x, y) = start, end, point
    return (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
