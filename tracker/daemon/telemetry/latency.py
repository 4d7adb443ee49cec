"""Durations and rates of late, in windows that do not grow."""

import threading
from dataclasses import dataclass

import numpy as np

WINDOW = 1000
RATE_WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Summary of durations: percentiles, count and sum.

    Attributes:
        p50_s: Median of the newest `WINDOW` durations; 0 before the first, as the others.
        p95_s: 95th percentile of them.
        p99_s: 99th percentile of them.
        count: All durations since the start.
        sum_s: Their sum.
    """

    p50_s: float = 0.0
    p95_s: float = 0.0
    p99_s: float = 0.0
    count: int = 0
    sum_s: float = 0.0


class LatencyWindow:
    """The newest `WINDOW` durations; one thread adds, any thread reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ring_s = np.zeros(WINDOW)
        self._count = 0
        self._sum_s = 0.0

    def add(self, duration_s: float) -> None:
        """Take in one duration."""
        with self._lock:
            self._ring_s[self._count % WINDOW] = duration_s
            self._count += 1
            self._sum_s += duration_s

    def summary(self) -> Latency:
        """Percentiles of the window; sorted here, not where durations are added."""
        with self._lock:
            count, sum_s = self._count, self._sum_s
            window_s = self._ring_s[: min(count, WINDOW)].copy()
        if not count:
            return Latency()
        p50_s, p95_s, p99_s = (float(p) for p in np.percentile(window_s, (50, 95, 99)))
        return Latency(p50_s, p95_s, p99_s, count, sum_s)


class RateWindow:
    """Rate of an event over the last `RATE_WINDOW_S`; any thread reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ring_s = np.zeros(WINDOW)
        self._count = 0

    def tick(self, at_s: float) -> None:
        """It happened, at `at_s` on the monotonic clock."""
        with self._lock:
            self._ring_s[self._count % WINDOW] = at_s
            self._count += 1

    def per_s(self, now_s: float) -> float:
        """Times per second up to `now_s`; falls to 0 when nothing happens any more."""
        with self._lock:
            ticks_s = self._ring_s[: min(self._count, WINDOW)].copy()
        if not ticks_s.size:
            return 0.0
        begin_s = max(now_s - RATE_WINDOW_S, float(ticks_s.min()))
        if now_s <= begin_s:
            return 0.0
        return float((ticks_s > begin_s).sum()) / (now_s - begin_s)
