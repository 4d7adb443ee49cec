"""Busy clock of a thread: how long it has been at one piece of work."""

import time


class Activity:
    """Marks one thread's work; a thread that is idle is never late."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def begin(self) -> None:
        """Begin a piece of work, or the next one."""
        self._since_s = time.monotonic()

    def end(self) -> None:
        """Be idle."""
        self._since_s = None

    @property
    def busy_s(self) -> float:
        """Seconds since the work in progress began; 0 while idle."""
        since_s = self._since_s
        return 0.0 if since_s is None else time.monotonic() - since_s
