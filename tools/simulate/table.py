"""Markdown of the model: sizes side by side, parts that become full, and the constants."""

import math
from collections.abc import Callable, Sequence

from tools.simulate import cost
from tools.simulate.constants import Constants, describe
from tools.simulate.fleet import HOUR_S
from tools.simulate.outcome import Outcome, percentile

_YEAR_H = 8760.0
_GBIT = 125e6


def report(constants: Constants, outcomes: Sequence[Outcome], seed: int) -> str:
    """All tables."""
    hours = outcomes[0].hours
    lines = [
        f"Simulated, not run: {hours / _YEAR_H:g} years of each size, seed {seed}.",
        "",
        *_rows(["cameras", *(f"{outcome.cameras:,}" for outcome in outcomes)]),
        *(_row([name, *map(of, outcomes)]) for name, of in _needs(constants)),
        *(_row([name, *map(of, outcomes)]) for name, of in _failures(constants)),
        "",
        parts_table(constants, [outcome.cameras for outcome in outcomes]),
    ]
    return "\n".join(lines)


def parts_table(constants: Constants, sizes: Sequence[int]) -> str:
    """Parts that all streams share, with what each size takes of them."""
    rows = [
        _row(
            [
                part.name,
                f"{part.full_at_cameras:,}",
                *(_percent(part.share(size)) for size in sizes),
                part.remedy,
            ]
        )
        for part in cost.shared_parts(constants)
    ]
    head = ["part, the one first that is full first", "full at, cameras"]
    heads = _rows([*head, *(f"{size:,}" for size in sizes), "would be changed"])
    return "\n".join([*heads, *rows]) + "\n"


def constants_table(constants: Constants) -> str:
    """Constants with their units and origins."""
    rows = [
        _row([f"`{one.name}`", _figure(one.value), one.origin.unit, one.origin.source])
        for one in describe(constants)
    ]
    head = ["| constant | value | unit | measured by, or assumed |", "|---|---:|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


_Rows = list[tuple[str, Callable[[Outcome], str]]]


def _needs(c: Constants) -> _Rows:
    mean = cost.mean_cost(c)

    def gbit(bytes_per_s: float) -> Callable[[Outcome], str]:
        return lambda outcome: _figure(outcome.cameras * bytes_per_s / _GBIT)

    beats, lookups = cost.heartbeats_ms_per_s(c), cost.lookups_per_s(c)
    return [
        (f"nodes of {c.node_cores} cores, spare ones included", lambda o: f"{o.nodes:,}"),
        ("cores at work", lambda o: _figure(o.cameras * mean.core_ms_per_s / 1000)),
        ("or GPUs", lambda o: f"{cost.gpu_count(c, o.cameras):,}"),
        (
            "and cores at work beside them",
            lambda o: _figure(o.cameras * mean.gpu_core_ms_per_s / 1000),
        ),
        ("memory, GiB", lambda o: _figure(cost.memory_mib(c, o.cameras, o.nodes) / 1024)),
        ("cameras to nodes, Gbit/s", gbit(c.camera_bytes_per_s)),
        ("masks to viewers, Gbit/s", gbit(cost.masks_bytes_per_s(c))),
        ("previews, Gbit/s", gbit(cost.previews_bytes_per_s(c))),
        ("snapshots, Gbit/s", gbit(cost.snapshots_bytes_per_s(c))),
        ("heartbeats, Mbit/s", lambda o: gbit(1000 * cost.control_bytes_per_s(c))(o)),
        ("snapshots a second", lambda o: _figure(o.cameras / c.snapshot_every_s)),
        ("requests to the directory a second", lambda o: _figure(o.cameras * lookups)),
        (
            "time of the head: heartbeats, directory",
            lambda o: (
                f"{_percent(o.cameras * beats / 1000)}, "
                f"{_percent(o.cameras * cost.directory_ms_per_s(c) / 1000)}"
            ),
        ),
    ]


def _failures(c: Constants) -> _Rows:
    def a_year(number: int, outcome: Outcome) -> str:
        return _figure(number * _YEAR_H / outcome.hours)

    def seconds(share: float) -> Callable[[Outcome], str]:
        return lambda o: _figure(percentile(o.seconds_to_go_on, share))

    return [
        ("nodes that die a year", lambda o: a_year(o.node_deaths, o)),
        ("streams down at a time, mean", lambda o: _figure(o.down_mean)),
        (
            "seconds a year that a stream is down",
            lambda o: _figure(o.down_mean / o.cameras * _YEAR_H * HOUR_S),
        ),
        ("streams down at a time, 99 %", lambda o: f"{o.down_p99:,}"),
        ("streams down at a time, most", lambda o: f"{o.down_most:,}"),
        ("seconds to go on, median", seconds(0.5)),
        ("seconds to go on, 99 %", seconds(0.99)),
        ("seconds to go on, worst", seconds(1.0)),
        ("outages a year", lambda o: a_year(o.seconds_to_go_on.total(), o)),
        ("outages a year without room at first", lambda o: a_year(o.waits_for_room, o)),
        ("objects lost a year, snapshot too old", lambda o: a_year(o.lost_too_old, o)),
        (
            "objects lost a year, prompted since the snapshot",
            lambda o: a_year(o.lost_since_snapshot, o),
        ),
    ]


def _rows(head: Sequence[str]) -> list[str]:
    """A head, and the rule below it; figures on the right."""
    return [_row(head), "|---|" + "---:|" * (len(head) - 1)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _percent(share: float) -> str:
    return f"{_figure(100 * share)} %"


def _figure(value: float) -> str:
    """Three significant digits, thousands set off; "-" for what is not a number."""
    if math.isnan(value):
        return "-"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"
