"""Queues and counts of the simulation, against queueing theory."""

import math
import random
from collections import Counter

import pytest

from tools.simulate.fifo import FifoServer
from tools.simulate.outcome import DownCount, percentile

ARRIVALS = 60_000


def mean_time_in_system_s(arrivals_per_s: float, services_s: list[float]) -> float:
    """Mean of waiting and service of Poisson arrivals at a single server."""
    drawn, server, now_s, total_s = random.Random(1), FifoServer(), 0.0, 0.0
    for service_s in services_s:
        now_s += drawn.expovariate(arrivals_per_s)
        total_s += server.finish_s(now_s, service_s) - now_s
    return total_s / len(services_s)


def test_exponential_work_takes_as_long_as_in_an_m_m_1_queue() -> None:
    drawn = random.Random(2)
    services_s = [drawn.expovariate(1.0) for _ in range(ARRIVALS)]
    # W = 1 / (mu - lambda) = 1 / (1 - 0.5), with a variance of 4; that of a mean of 60,000 is some
    # ten times 4 / 60,000, as they follow one another: 0.1 is four deviations.
    assert mean_time_in_system_s(0.5, services_s) == pytest.approx(2.0, abs=0.1)


def test_equal_work_waits_half_as_long_as_exponential() -> None:
    # Pollaczek-Khinchine for M/D/1: W = s + rho s / (2 (1 - rho)) = 1 + 0.5 / (2 * 0.5).
    assert mean_time_in_system_s(0.5, [1.0] * ARRIVALS) == pytest.approx(1.5, abs=0.05)


def test_the_number_down_is_weighed_by_time() -> None:
    down = DownCount()
    down.change(90.0, 4)  # 0 for 90 s
    down.change(98.5, 2)  # 4 for 8.5 s
    down.change(100.0, -6)  # 6 for 1.5 s
    assert down.mean() == pytest.approx((4 * 8.5 + 6 * 1.5) / 100)
    assert (down.percentile(0.9), down.percentile(0.98), down.percentile(0.99)) == (0, 4, 6)
    assert (down.most, down.now) == (6, 0)


def test_percentiles_are_of_the_nearest_rank() -> None:
    # The example of the nearest-rank method: of 15, 20, 35, 40, 50.
    values = Counter([35.0, 20.0, 15.0, 50.0, 40.0])
    assert [percentile(values, share) for share in (0.05, 0.3, 0.4, 0.5, 1.0)] == [
        *(15, 20, 20, 35, 50)
    ]
    assert math.isnan(percentile({}, 0.5))
