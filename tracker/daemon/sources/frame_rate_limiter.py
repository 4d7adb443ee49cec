"""Frame rate limiter of a stream with a deadline, and who may have one."""

from streams.address import SourceKind, kind_of
from tracker.errors import UsageError
from tracker.protocol.fields import StreamSettings


def check_deadline(settings: StreamSettings) -> None:
    """Refuse a deadline for a file that is read as fast as it can be.

    Raises:
        UsageError: It has one.
    """
    timely = settings.realtime or settings.policy == "latest"
    if settings.deadline is None or timely or kind_of(settings.url) is not SourceKind.PATH:
        return
    raise UsageError(
        "a deadline is for live sources and files in real time",
        "set realtime, or leave the deadline out",
    )


class FrameRateLimiter:
    """Takes frames of a source at a pace, spread evenly; all where they come slower."""

    def __init__(self, fps: float) -> None:
        """Begin before the first frame, with at most `fps` to take a second."""
        self._step_s = 1 / fps
        self._due_s: float | None = None
        self._newest_s = 0.0

    def takes(self, now_s: float) -> bool:
        """True if to take the frame that comes now: it is nearer to its due time than the next.

        Args:
            now_s: Seconds on a monotonic clock.
        """
        if self._due_s is None:
            self._due_s = self._newest_s = now_s
        until_next_s, self._newest_s = now_s - self._newest_s, now_s
        if now_s + until_next_s / 2 < self._due_s:
            return False
        self._due_s = max(self._due_s, now_s - self._step_s) + self._step_s
        return True
