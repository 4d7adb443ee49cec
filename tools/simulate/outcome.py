"""Results of a simulation: streams that are down over time, and how long each was."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


class DownCount:
    """Number of streams that are down, with the time that it had each value."""

    def __init__(self) -> None:
        self.now = 0
        self._since_s = 0.0
        self._seconds: defaultdict[int, float] = defaultdict(float)

    def change(self, at_s: float, by: int) -> None:
        """Change the number at a time that is not before the last one."""
        self._seconds[self.now] += at_s - self._since_s
        self.now, self._since_s = self.now + by, at_s

    @property
    def most(self) -> int:
        """The largest number."""
        return max(self._seconds, default=0)

    def mean(self) -> float:
        """Mean over time."""
        total_s = sum(self._seconds.values())
        return sum(count * s for count, s in self._seconds.items()) / total_s if total_s else 0.0

    def percentile(self, share: float) -> int:
        """Least number that was not exceeded for `share` of the time."""
        return int(percentile(self._seconds, share))


def percentile(weights: Mapping[float, float] | Mapping[int, float], share: float) -> float:
    """Nearest-rank percentile of values with their weights; NaN without values."""
    left = share * sum(weights.values())
    for value, weight in sorted(weights.items()):
        left -= weight
        if left <= 0:
            return value
    return max(weights, default=math.nan)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Results of the simulation of one size.

    Attributes:
        hours: Simulated.
        node_deaths: Nodes that failed, those of failed racks included.
        down_mean: Streams down at a time.
        down_p99: That were not exceeded 99 % of the time.
        down_most: The most.
        seconds_to_go_on: Of outages that ended, to three digits, and how many were so long.
        waits_for_room: Streams that no node had room for when theirs died.
        lost_too_old: Objects lost since their snapshot was too old.
        lost_since_snapshot: Objects lost since they were prompted after it.
    """

    cameras: int
    nodes: int
    hours: float
    node_deaths: int
    down_mean: float
    down_p99: int
    down_most: int
    seconds_to_go_on: Counter[float]
    waits_for_room: int
    lost_too_old: int
    lost_since_snapshot: int
