"""Warnings that repeat: the first is logged at once, then one a minute with how many there were."""

import logging
import time
from collections.abc import Callable

EVERY_S = 60.0


class RepeatedWarning:
    """A warning that may come with every frame.

    Args:
        log: Where it goes.
        clock_s: Seconds that only grow.
    """

    def __init__(self, log: logging.Logger, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock_s = clock_s
        self._next_s: float | None = None
        self._unsaid = 0

    def say(self, text: str) -> None:
        """Log it, or count it for later."""
        now_s = self._clock_s()
        if self._next_s is not None and now_s < self._next_s:
            self._unsaid += 1
            return
        more = f" (and {self._unsaid} times since the last line)" if self._unsaid else ""
        self._log.warning("%s%s", text, more)
        self._next_s, self._unsaid = now_s + EVERY_S, 0
