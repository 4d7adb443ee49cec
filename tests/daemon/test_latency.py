"""Percentiles and rates of late, in windows that do not grow."""

import pytest

from tracker.daemon.telemetry.latency import (
    RATE_WINDOW_S,
    WINDOW,
    Latency,
    LatencyWindow,
    RateWindow,
)


def test_before_the_first_duration_all_is_zero() -> None:
    assert LatencyWindow().summary() == Latency(0.0, 0.0, 0.0, 0, 0.0)


def test_percentiles_are_those_of_the_durations() -> None:
    window = LatencyWindow()
    for ms in range(101):
        window.add(ms / 1000)
    latency = window.summary()
    assert (latency.p50_s, latency.p95_s, latency.p99_s) == pytest.approx((0.050, 0.095, 0.099))
    assert (latency.count, latency.sum_s) == (101, pytest.approx(5.05))


def test_old_durations_leave_the_percentiles_but_not_the_count() -> None:
    window = LatencyWindow()
    for _ in range(WINDOW):
        window.add(9.0)
    for _ in range(WINDOW):
        window.add(1.0)
    assert window.summary() == Latency(1.0, 1.0, 1.0, 2 * WINDOW, 10.0 * WINDOW)


@pytest.mark.parametrize(
    ("ticks", "now_s", "per_s"),
    [
        ([], 100.0, 0.0),
        ([100.0], 100.0, 0.0),
        ([100.0 + i / 25 for i in range(26)], 101.0, 25.0),  # one second since the first
        ([100.0 + i / 25 for i in range(501)], 120.0, 25.0),  # longer than the window
        ([100.0 + i / 25 for i in range(501)], 120.0 + RATE_WINDOW_S, 0.0),  # nothing since
        ([100.0 + i / 500 for i in range(5001)], 110.0, 500.0),  # more ticks than are kept
    ],
)
def test_the_rate_is_that_of_the_last_seconds(
    ticks: list[float], now_s: float, per_s: float
) -> None:
    rate = RateWindow()
    for at_s in ticks:
        rate.tick(at_s)
    assert rate.per_s(now_s) == pytest.approx(per_s, rel=0.01)
