"""The table of the suite `outputs`: frames/s with each output, and as a share of those without."""

from statistics import mean, median

from tools.bench.record import Run, Series
from tools.bench.report.words import NOTHING, number, table, times
from tools.bench.stats import spread

_RATE, _DAEMON, _OWN = "tracked", "processor time of the daemon", "processor time of the output"
_HEADINGS = (
    *("output", "frames/s", "times those without, median (least to most)"),
    *("daemon, ms of processor a frame", "times that without, median (least to most)"),
    *("its own process, ms a frame", "passed on a second"),
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
                _median(run.find(_RATE, output=name)),
                _against(run, _RATE, name, place),
                _median(run.find(_DAEMON, output=name)),
                _against(run, _DAEMON, name, place),
                _median(run.find(_OWN, output=name)),
                _median(passed_on) + (f" {passed_on.unit.partition(' ')[0]}" if passed_on else ""),
            ]
        )
    return table(_HEADINGS, rows)


def _against(run: Run, quantity: str, name: str, place: int) -> str:
    """A quantity by the mean of the turns without outputs before and after, round by round.

    The output at `place` of a round, counted from 1, stands between those at `place - 1` and
    `place`. A round in which these stood still says nothing.
    """
    series = run.find(quantity, output=name)
    without = run.find(quantity, output=run.contenders[0].name)
    if not place or series is None or without is None:
        return NOTHING
    pairs = zip(series.rounds, without.rounds, strict=True)
    means = ((one[0], mean(beside[place - 1 : place + 1])) for one, beside in pairs)
    ratios = [own / beside for own, beside in means if beside]
    return times(spread(ratios)) if ratios else NOTHING


def _median(series: Series | None) -> str:
    return NOTHING if series is None else number(median(series.samples))
