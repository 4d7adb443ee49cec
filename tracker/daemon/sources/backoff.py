"""Exponential backoff with jitter, between attempts to open a failing source."""

import random
from collections.abc import Callable

from tracker.daemon.config.schema import RetryConfig


class Backoff:
    """Waits that double with each failure, spread so that many streams do not ask at once."""

    def __init__(self, config: RetryConfig, *, random: Callable[[], float] = random.random) -> None:
        """Begin at the shortest wait.

        Args:
            config: The waits, in seconds.
            random: Numbers from 0 to 1.
        """
        self._config = config
        self._random = random
        self._failures = 0

    def failed(self, ran_s: float) -> float:
        """Return the seconds to wait after a failure.

        Args:
            ran_s: How long frames came before it; a healthy run starts the waits over.
        """
        if ran_s >= self._config.healthy_s:
            self._failures = 0
        # 2**64 first waits are longer than any longest wait.
        wait_s = min(self._config.first_s * 2.0 ** min(self._failures, 64), self._config.longest_s)
        self._failures += 1
        return self._spread(wait_s)

    def failed_for_good(self) -> float:
        """Return the seconds to wait after an error that time alone does not fix."""
        return self._spread(self._config.permanent_s)

    def reset(self) -> None:
        """Start the waits over."""
        self._failures = 0

    def _spread(self, wait_s: float) -> float:
        return wait_s * (0.75 + 0.5 * self._random())
