"""The table of the suite `outputs`: frames/s with each output, and as a share of those without."""

from statistics import mean, median

from tools.bench.record import Run, Series
from tools.bench.report.words import NOTHING, number, table, times
from tools.bench.stats import Spread, spread

_HEADINGS = (
    *("output", "frames/s", "of those without, median (least to most)"),
    *("daemon, ms of processor a frame", "its own process", "passed on a second"),
)


def outputs_lines(run: Run) -> list[str]:
    """A row for each output, the first of which is none."""
    outputs = [one.name for one in run.contenders if not one.problem]
    rows = []
    for place, name in enumerate(outputs):
        passed_on = run.find("passed on", output=name)
        rows.append(
            [
                name,
                _median(run.find("tracked", output=name)),
                times(shares(run, place, name)) if place else NOTHING,
                _median(run.find("processor time of the daemon", output=name)),
                _median(run.find("processor time of the output", output=name)),
                _median(passed_on) + (f" {passed_on.unit.partition(' ')[0]}" if passed_on else ""),
            ]
        )
    return table(_HEADINGS, rows)


def shares(run: Run, place: int, name: str) -> Spread:
    """Frames/s with the output at a place of a round by the mean of the turns beside it without."""
    tracked = run.find("tracked", output=name)
    without = run.find("tracked", output=run.contenders[0].name)
    assert tracked is not None and without is not None
    return spread(
        [
            one[0] / mean(beside[place - 1 : place + 1])
            for one, beside in zip(tracked.rounds, without.rounds, strict=True)
        ]
    )


def _median(series: Series | None) -> str:
    return NOTHING if series is None else number(median(series.samples))
