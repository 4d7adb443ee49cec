"""Records as pictures."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tools.bench.record import Record, Run
from tools.bench.stats import percentiles, spread

mpl.use("agg")
_WIDTH_IN, _HEIGHT_IN, _DPI = 5.0, 3.4, 90
_STAGE_GAP = 0.8


def pictures_of(record: Record, path: Path) -> list[Path]:
    """The files that `draw` makes of a record, beside its file."""
    suites = {run.suite for run in record.runs}
    return [path.with_name(f"{suite}.png") for suite in _PICTURES if suite in suites]


def draw(record: Record, path: Path) -> list[Path]:
    """Draw what a record has a picture for, beside its file."""
    drawn = pictures_of(record, path)
    for picture in drawn:
        runs = [run for run in record.runs if run.suite == picture.stem]
        figure = Figure((_WIDTH_IN * len(runs), _HEIGHT_IN), dpi=_DPI, layout="constrained")
        for axes, run in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs, strict=True):
            _PICTURES[picture.stem](axes, run)
        figure.savefig(picture, metadata={"Software": None})
    return drawn


def _track(axes: Axes, run: Run) -> None:
    """Median ms over the number of objects, from the slowest to the fastest round."""
    assert run.subject is not None
    for name in dict.fromkeys(series.name for series in run.series):
        of_name = [series for series in run.series if series.name == name]
        objects = [int(series.case["objects"]) for series in of_name]
        rounds = [spread([percentiles(r).p50 for r in series.rounds]) for series in of_name]
        line = axes.plot(objects, [r.median for r in rounds], marker="o", label=name)[0]
        low, high = [r.least for r in rounds], [r.most for r in rounds]
        axes.fill_between(objects, low, high, color=line.get_color(), alpha=0.2)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks([int(n) for n in run.cases("objects")], [str(n) for n in run.cases("objects")])
    axes.set_xlabel("objects")
    axes.set_ylabel("ms a frame")
    axes.set_title(f"{run.subject.model}, {run.subject.dtype}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _model(axes: Axes, run: Run) -> None:
    """Stages of a frame stacked, a bar for each number of objects."""
    assert run.subject is not None
    counts = run.cases("objects")
    below = [0.0] * len(counts)
    for name in dict.fromkeys(series.name for series in run.series):
        found = [run.find(name, objects=count) for count in counts]
        ms = [percentiles(series.samples).p50 if series else 0.0 for series in found]
        axes.bar([str(count) for count in counts], ms, _STAGE_GAP, bottom=below, label=name)
        below = [low + height for low, height in zip(below, ms, strict=True)]
    axes.set_xlabel("objects")
    axes.set_ylabel("ms a frame")
    axes.set_title(f"{run.subject.model}, {run.subject.dtype}", fontsize=10)
    axes.legend(fontsize=8)


_PICTURES: dict[str, Callable[[Axes, Run], None]] = {"track": _track, "model": _model}
