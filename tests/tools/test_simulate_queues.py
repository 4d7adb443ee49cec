"""Queues and counts of the simulation, against queueing theory."""

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from tools.simulate.constants import Constants
from tools.simulate.fifo import FifoServer
from tools.simulate.outcome import DownCount, percentile
from tools.simulate.store import Store

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


#: A camera writes 1e5 bytes/s.
STORE = replace(
    Constants(),
    snapshot_every_s=10.0,
    four_objects_share=0.0,
    snapshot_bytes_1=1e6,
    store_bytes_per_s=1e8,
    store_objects_per_s=1e6,
    store_request_s=1.0,
    store_restores_share=0.2,
    store_slow_share=0.1,
)


@pytest.mark.parametrize(("cameras", "every_s"), [(500, 10), (1000, 10), (3000, 30)])
def test_a_full_store_has_snapshots_as_much_later(cameras: int, every_s: float) -> None:
    assert Store(STORE, cameras).snapshots_every_s(0.0) == pytest.approx(every_s)


def test_a_slow_store_has_them_later_but_none_from_before_it_was_slow() -> None:
    store = Store(STORE, 500)  # half full, five times full while it is slow
    store.slow_between(100.0, 1000.0)
    found = [store.snapshots_every_s(now_s) for now_s in (99.0, 110.0, 500.0, 1000.0)]
    assert found == pytest.approx([10, 10 + 10, 50, 10])


def test_restores_get_what_snapshots_leave_or_their_share() -> None:
    store = Store(STORE, 500)
    assert store.read_s(0.0, 1e8) == pytest.approx(2 + 1)  # of half the store, and the request
    store.slow_between(100.0, 1000.0)
    assert store.read_s(100.0, 1e8) == pytest.approx(100 + 1 / (0.1 * 0.2) + 1)


def test_percentiles_are_of_the_nearest_rank() -> None:
    # The example of the nearest-rank method: of 15, 20, 35, 40, 50.
    values = Counter([35.0, 20.0, 15.0, 50.0, 40.0])
    assert [percentile(values, share) for share in (0.05, 0.3, 0.4, 0.5, 1.0)] == [
        *(15, 20, 20, 35, 50)
    ]
    assert math.isnan(percentile({}, 0.5))
