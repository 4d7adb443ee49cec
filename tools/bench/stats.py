"""The few statistics that the tables show."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of samples, in their unit."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Over the rounds of a run."""

    least: float
    median: float
    most: float


def percentiles(samples: Sequence[float]) -> Percentiles:
    """Percentiles of at least one sample, linear between two samples."""
    p50, p95, p99 = np.percentile(samples, (50, 95, 99))
    return Percentiles(float(p50), float(p95), float(p99))


def spread(values: Sequence[float]) -> Spread:
    """Least, median and most of at least one value."""
    return Spread(min(values), statistics.median(values), max(values))


def round_ratios(
    theirs: Sequence[Sequence[float]], ours: Sequence[Sequence[float]]
) -> tuple[float, ...]:
    """Ratios of their time to ours: one ratio of medians a round.

    Both were measured in the same rounds, so that a machine that is slow for a while is slow for
    both.
    """
    return tuple(
        statistics.median(b) / statistics.median(a) for b, a in zip(theirs, ours, strict=True)
    )
