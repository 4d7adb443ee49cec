"""Steady times of pictures, from clocks that may jump."""

from fractions import Fraction

from tracker.protocol.data import FrameStamp

_LONGEST_STEP_S = 5
_LONGEST_GAP_S = 3600
_UNKNOWN_S = Fraction(1, 30)
_NS = 1_000_000_000


class Timeline:
    """Clock of one stream: it goes on with the source's own steps, which do not jitter.

    Where these are missing, go back or jump, as when a source is opened again, it goes on with the
    time between the arrivals.
    """

    def __init__(self) -> None:
        self._now_s = Fraction(0)
        self._before: FrameStamp | None = None

    def at(self, frame: FrameStamp) -> Fraction:
        """Time of a frame in seconds; 0 of the first, and later than that of the one before."""
        if self._before is not None:
            self._now_s += _step(self._before, frame)
        self._before = frame
        return self._now_s


def _step(before: FrameStamp, frame: FrameStamp) -> Fraction:
    source_s = _source_s(frame), _source_s(before)
    if source_s[0] is not None and source_s[1] is not None:
        step_s = source_s[0] - source_s[1]
        if 0 < step_s <= _LONGEST_STEP_S:
            return step_s
    arrived_s = Fraction(frame.captured_ns - before.captured_ns, _NS)
    return arrived_s if 0 < arrived_s <= _LONGEST_GAP_S else _UNKNOWN_S


def _source_s(frame: FrameStamp) -> Fraction | None:
    if frame.pts is None or frame.time_base is None or frame.time_base[1] == 0:
        return None
    return frame.pts * Fraction(*frame.time_base)
