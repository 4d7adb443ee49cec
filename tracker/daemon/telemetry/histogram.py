"""A latency histogram that never grows."""

from bisect import bisect_left
from dataclasses import dataclass

BOUNDS_S = (0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class HistogramCounts:
    """Counts of a histogram since the start.

    Attributes:
        counts: Per bucket, one for each of `BOUNDS_S` (its upper bound) and one for all above.
        sum_s: Of all recorded seconds.
    """

    counts: tuple[int, ...]
    sum_s: float


class LatencyHistogram:
    """Counts seconds into the buckets of `BOUNDS_S`; one thread records, any thread reads."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration; one that equals a bound belongs below it."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def read(self) -> HistogramCounts:
        """All so far. The sum may lag a record behind the counts."""
        return HistogramCounts(tuple(self._counts), self._sum_s)
