"""Token bucket: a bound on how often something may be done."""

import time
from collections.abc import Callable


class TokenBucket:
    """Allows `per_s` things a second on average, and `burst` at once.

    Args:
        per_s: Tokens a second that it is filled with.
        burst: Tokens that it holds when full, as at the beginning.
        clock_s: Seconds, monotonic.
    """

    def __init__(
        self, per_s: float, burst: float, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock_s = clock_s
        self._tokens = burst
        self._filled_s = clock_s()

    def take(self) -> bool:
        """Take a token; False where there is none."""
        now_s = self._clock_s()
        self._tokens = min(self._burst, self._tokens + (now_s - self._filled_s) * self._per_s)
        self._filled_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
