"""Watch of a worker process: whether it answers, and keeps to its memory."""

import time
from collections.abc import Callable

from tracker.daemon.telemetry.health import TRACKER_BUSY_S

PING_EVERY_S = 1.0
PATIENCE = 6


class Watch:
    """Clock of one life of a worker process; belongs to the thread that watches it.

    Args:
        hang_timeout_s: A process that does not answer for so long hangs, where it computes nothing
            either; one that computes has `PATIENCE` times as long, since it may only be starved.
        most_bytes: Resident memory that it may have; None for no limit.
        memory_bytes: Reads it.
        processor_s: Reads the processor time that it used; None where the system does not say.
    """

    def __init__(
        self,
        *,
        hang_timeout_s: float,
        most_bytes: int | None,
        memory_bytes: Callable[[], int | None],
        processor_s: Callable[[], float | None],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hang_timeout_s = hang_timeout_s
        self._most_bytes = most_bytes
        self._memory_bytes = memory_bytes
        self._processor_s = processor_s
        self._used_s = processor_s()
        self._computed_s = clock_s()
        self._clock_s = clock_s
        self._answered_s = clock_s()
        self._pinged_s: float | None = None
        self._busy_s = 0.0

    def answered(self, busy_s: float) -> None:
        """Take note of an answer; its tracker has been at one piece of work for so long."""
        self._answered_s = self._clock_s()
        self._busy_s = busy_s

    def is_due(self) -> bool:
        """True if it is to be pinged now; asking takes the turn."""
        now_s = self._clock_s()
        if self._pinged_s is not None and now_s - self._pinged_s < PING_EVERY_S:
            return False
        self._pinged_s = now_s
        return True

    def fault(self) -> str:
        """The reason to end it, in words; "" where all is well."""
        silent_s = self._clock_s() - self._answered_s
        patience = PATIENCE if self._computes() else 1
        if silent_s > patience * self._hang_timeout_s:
            return f"it does not answer for {silent_s:.0f} s"
        if self._busy_s > TRACKER_BUSY_S:
            return f"its tracker is at one frame or command for {self._busy_s:.0f} s"
        held = None if self._most_bytes is None else self._memory_bytes()
        if held is not None and self._most_bytes is not None and held > self._most_bytes:
            return f"it holds {held >> 20} MiB, more than workers.memory_bytes"
        return ""

    def _computes(self) -> bool:
        """True if it used a processor within `hang_timeout_s`."""
        used_s, now_s = self._processor_s(), self._clock_s()
        if used_s != self._used_s:
            self._used_s, self._computed_s = used_s, now_s
        return now_s - self._computed_s <= self._hang_timeout_s
