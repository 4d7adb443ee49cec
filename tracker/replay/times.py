"""Presentation times of recorded frames: on the source's clock, their rate, and carried on."""

from fractions import Fraction
from statistics import median_low

from tracker.protocol.data import FrameStamp
from tracker.protocol.recording import FrameNote

_STEPS = 250  # between frames, of which the frame rate is made
_LARGEST_TERM = 1001  # of a frame rate, as in 30000/1001
_BREAK_S = 60


def presentation_s(frame: FrameNote | FrameStamp) -> Fraction | None:
    """Presentation time in seconds on the source's clock; None where it has none."""
    if frame.pts is None or frame.time_base is None or min(frame.time_base) < 1:
        return None
    return frame.pts * Fraction(*frame.time_base)


class FrameRate:
    """Frame rate by the median of the first steps from a frame to the next."""

    def __init__(self) -> None:
        self._steps_s: list[Fraction] = []
        self._newest_s: Fraction | None = None

    def add(self, at_s: Fraction | None) -> None:
        """Take in the time of the next frame."""
        before_s, self._newest_s = self._newest_s, at_s
        if at_s is None or before_s is None or len(self._steps_s) == _STEPS:
            return
        if at_s > before_s:
            self._steps_s.append(at_s - before_s)

    @property
    def fps(self) -> Fraction | None:
        """Frames per second; None before the second frame."""
        if not self._steps_s:
            return None
        return (1 / median_low(self._steps_s)).limit_denominator(_LARGEST_TERM)


class ContinuousClock:
    """Times that grow from frame to frame: those of the source, carried on over its breaks.

    After a break, which is a clock that did not grow or was silent for more than a minute, the next
    frame comes one frame interval after the one before it.
    """

    def __init__(self, fps: Fraction | None) -> None:
        self._interval_s = 1 / (fps or Fraction(30))
        self._offset_s = Fraction(0)
        self._newest_s: Fraction | None = None

    def carry_on(self, source_s: Fraction) -> Fraction:
        """The time in seconds of the next frame, whose time on the source's clock is given."""
        at_s = source_s + self._offset_s
        if self._newest_s is not None and not 0 < at_s - self._newest_s <= _BREAK_S:
            self._offset_s += self._newest_s + self._interval_s - at_s
            at_s = source_s + self._offset_s
        self._newest_s = at_s
        return at_s
