"""Records as pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tools.bench.record import Record, Run
from tools.bench.report.words import number
from tools.bench.stats import percentiles, spread

mpl.use("agg")
_WIDTH_IN, _HEIGHT_IN, _DPI = 5.0, 3.4, 90
_BAR = 0.8
_SAME_MODEL = ("ours", "official", "transformers")  # run the model of their run


def pictures_of(record: Record, path: Path) -> list[Path]:
    """The files that `draw` makes of a record, beside its file."""
    return [
        path.with_name(f"{name}.png") for name, (wants, _) in _PICTURES.items() if wants(record)
    ]


def draw(record: Record, path: Path) -> list[Path]:
    """Draw what a record has a picture for, beside its file."""
    drawn = pictures_of(record, path)
    for picture in drawn:
        wanted, draw_one = _PICTURES[picture.stem]
        groups = wanted(record)
        figure = Figure((_WIDTH_IN * len(groups), _HEIGHT_IN), dpi=_DPI, layout="constrained")
        for axes, runs in zip(
            figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True
        ):
            draw_one(axes, runs)
        figure.savefig(picture, metadata={"Software": None})
    return drawn


Groups = list[list[Run]]  # runs that share a pair of axes


def _with_lines(record: Record) -> Groups:
    runs = [run for run in record.runs if run.suite == "track"]
    return [[run] for run in runs if len(run.cases("objects")) > 1]


def _with_bars(record: Record) -> Groups:
    """All runs of tracking, if some peer was in them."""
    runs = [run for run in record.runs if run.suite == "track" and len(run.contenders) > 1]
    return [runs] if runs else []


def _with_stages(record: Record) -> Groups:
    return [[run] for run in record.runs if run.suite == "model"]


def _peers(axes: Axes, runs: Sequence[Run]) -> None:
    """Median ms with one object of all that were measured, whatever they track with."""
    ms: dict[str, float] = {}
    for run in runs:
        assert run.subject is not None
        for one in run.contenders:
            series = run.find(one.name, objects=1)
            if series is not None:
                own = run.subject.model if one.name.startswith(_SAME_MODEL) else ""
                ms.setdefault(f"{one.name} {own}".strip(), percentiles(series.samples).p50)
    names = sorted(ms, key=lambda name: -ms[name])
    bars = axes.barh(names, [ms[name] for name in names], _BAR)
    axes.bar_label(bars, [number(ms[name]) for name in names], padding=2, fontsize=7)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("ms a frame, one object")


def _objects(axes: Axes, runs: Sequence[Run]) -> None:
    """Median ms over the number of objects, from the slowest to the fastest round."""
    (run,) = runs
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


def _stages(axes: Axes, runs: Sequence[Run]) -> None:
    """Stages of a frame stacked, a bar for each number of objects."""
    (run,) = runs
    assert run.subject is not None
    counts = run.cases("objects")
    below = [0.0] * len(counts)
    for name in dict.fromkeys(series.name for series in run.series):
        found = [run.find(name, objects=count) for count in counts]
        ms = [percentiles(series.samples).p50 if series else 0.0 for series in found]
        axes.bar([str(count) for count in counts], ms, _BAR, bottom=below, label=name)
        below = [low + height for low, height in zip(below, ms, strict=True)]
    axes.set_xlabel("objects")
    axes.set_ylabel("ms a frame")
    axes.set_title(f"{run.subject.model}, {run.subject.dtype}", fontsize=10)
    axes.legend(fontsize=8)


_PICTURES: dict[str, tuple[Callable[[Record], Groups], Callable[[Axes, Sequence[Run]], None]]] = {
    "objects": (_with_lines, _objects),
    "peers": (_with_bars, _peers),
    "stages": (_with_stages, _stages),
}
