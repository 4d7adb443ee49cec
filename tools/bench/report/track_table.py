"""The table of the suite `track`: who needs how long, and how many times as long as ours."""

from tools.bench.record import Run
from tools.bench.report.words import NOTHING, number, table, times
from tools.bench.stats import percentiles, round_ratios, spread

_HEADINGS = (
    *("objects", "", "p50 ms", "p95 ms", "p99 ms", "frames/s", "peak MiB"),
    "times ours, median (least to most) of rounds",
)


def track_lines(run: Run) -> list[str]:
    """A row for each number of objects and each of those who took turns."""
    rows = []
    for objects in run.cases("objects"):
        ours = run.find("ours", objects=objects)
        for one in run.contenders:
            series = run.find(one.name, objects=objects)
            if series is None:
                rows.append([str(objects), one.name, *([NOTHING] * 6)])
                continue
            p = percentiles(series.samples)
            peak = run.fact(f"peak of {one.name}", objects=objects)
            ratio = NOTHING
            if ours is not None and one.name != "ours":
                ratio = times(spread(round_ratios(series.rounds, ours.rounds)))
            rows.append(
                [
                    str(objects),
                    one.name,
                    *(number(value) for value in (p.p50, p.p95, p.p99, 1000 / p.p50)),
                    NOTHING if peak is None else number(peak),
                    ratio,
                ]
            )
    return table(_HEADINGS, rows, left=2)
