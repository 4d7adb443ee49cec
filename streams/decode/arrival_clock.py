"""Presentation times for sources without a clock of their own: when their data arrived."""

from fractions import Fraction

TIME_BASE = Fraction(1, 90_000)
# FFmpeg invents the times of these, 25 pictures a second, whatever the sender does.
CLOCKLESS_FORMATS = frozenset(
    {"mpjpeg", "mjpeg", "mjpeg_2000", "jpeg_pipe", "image2pipe", "rawvideo", "dirac", "cavsvideo"}
    | {"h264", "hevc", "vvc", "av1", "obu", "m4v", "mpegvideo", "vc1", "h263", "h261"}
)


class ArrivalClock:
    """Counts from the first arrival on; every time is after the one before."""

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._newest = -1

    def pts(self, arrived_ns: int) -> int:
        """The presentation time of what arrived then, in units of `TIME_BASE`.

        Args:
            arrived_ns: Nanoseconds on a monotonic clock.
        """
        if self._first_ns is None:
            self._first_ns = arrived_ns
        elapsed = (arrived_ns - self._first_ns) * TIME_BASE.denominator // 1_000_000_000
        self._newest = max(self._newest + 1, elapsed)
        return self._newest
