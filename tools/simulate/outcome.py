"""Results of a simulation: streams that are down over time, and how long each was."""

import math
from collections import defaultdict
from collections.abc import Sequence
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
        left_s = share * sum(self._seconds.values())
        for count, seconds in sorted(self._seconds.items()):
            left_s -= seconds
            if left_s <= 0:
                return count
        return self.most


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile; NaN without values."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Results of the simulation of one size.

    Attributes:
        hours: Simulated.
        node_deaths: Nodes that failed, those of failed racks included.
        down_mean: Streams down at a time.
        down_p99: That were not exceeded 99 % of the time.
        down_most: The most.
        seconds_to_go_on: Of each outage that ended.
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
    seconds_to_go_on: tuple[float, ...]
    waits_for_room: int
    lost_too_old: int
    lost_since_snapshot: int
