"""Size of the large picture of a page: what its window shows, or less where pictures come late."""

import time
from collections.abc import Callable

from tracker.protocol.fields import PREVIEW_SIZES, PreviewSize

LATE_S = 0.4
SOON_S = 0.15
LATE_IN_A_ROW = 4
SOON_FOR_S = 10.0
LONGEST_WAIT_S = 160.0
_LADDER = (PreviewSize.SMALL, PreviewSize.MEDIUM, PreviewSize.LARGE)


class PictureSize:
    """Chooses a preview size by how soon a page has shown the pictures that it was sent.

    Some late ones in a row lead to the next smaller size, a time without one that was not soon to
    the next larger one. That time doubles with each step down, so that a link on which the larger
    size does not fit is not tried again and again.

    Args:
        clock_s: Seconds, monotonic.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._fitting = _LADDER.index(PreviewSize.MEDIUM)
        self._steps_down = 0
        self._late = 0
        self._soon_since_s = clock_s()
        self._wait_s = SOON_FOR_S

    @property
    def size(self) -> PreviewSize:
        """The size to subscribe to."""
        return _LADDER[max(0, self._fitting - self._steps_down)]

    def fit(self, side_px: int) -> None:
        """Take in the longer side of the place for the picture, in pixels of the screen."""
        fitting = (i for i, one in enumerate(_LADDER) if PREVIEW_SIZES[one].max_side_px >= side_px)
        self._fitting = next(fitting, len(_LADDER) - 1)
        self._steps_down = min(self._steps_down, self._fitting)

    def note(self, took_s: float) -> None:
        """Take in how long a picture took until the page had shown it."""
        now_s = self._clock_s()
        self._late = self._late + 1 if took_s > LATE_S else 0
        if took_s > SOON_S:
            self._soon_since_s = now_s
        if self._late >= LATE_IN_A_ROW and self._steps_down < self._fitting:
            self._steps_down += 1
            self._late = 0
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        elif self._steps_down and now_s - self._soon_since_s >= self._wait_s:
            self._steps_down -= 1
            self._soon_since_s = now_s
