"""Records as pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from tools.bench.record import Record, Run
from tools.bench.report.words import number
from tools.bench.stats import percentiles, spread

mpl.use("agg")
_WIDTH_IN, _HEIGHT_IN, _DPI = 5.0, 3.4, 90
_BAR = 0.8
_SAME_MODEL = ("ours", "official", "transformers")  # run the model of their run


def pictures_of(record: Record, path: Path) -> list[Path]:
    """The files that `draw` makes of a record, beside its file."""
    return [path.with_name(f"{name}.png") for name, one in _PICTURES.items() if one.groups(record)]


def draw(record: Record, path: Path) -> list[Path]:
    """Draw what a record has a picture for, beside its file."""
    drawn = pictures_of(record, path)
    for picture in drawn:
        one = _PICTURES[picture.stem]
        groups = one.groups(record)
        figure = Figure((_WIDTH_IN * len(groups), _HEIGHT_IN * one.height), dpi=_DPI)
        figure.set_layout_engine("constrained")
        parts = figure.subfigures(1, len(groups), squeeze=False)[0]
        for part, runs in zip(parts, groups, strict=True):
            one.draw(part, runs)
        figure.savefig(picture, metadata={"Software": None})
    return drawn


Groups = list[list[Run]]  # runs that are drawn together


@dataclass(frozen=True, slots=True)
class Picture:
    """Runs of a plot, their drawing, and its height in heights of others."""

    groups: Callable[[Record], Groups]
    draw: Callable[[SubFigure, Sequence[Run]], None]
    height: float = 1.0


def _with_lines(record: Record) -> Groups:
    runs = [run for run in record.runs if run.suite == "track"]
    return [[run] for run in runs if len(run.cases("objects")) > 1]


def _with_bars(record: Record) -> Groups:
    """All runs of tracking, if some peer was in them."""
    runs = [run for run in record.runs if run.suite == "track" and len(run.contenders) > 1]
    return [runs] if runs else []


def _of(suite: str) -> Callable[[Record], Groups]:
    return lambda record: [[run] for run in record.runs if run.suite == suite]


def _peers(part: SubFigure, runs: Sequence[Run]) -> None:
    """Median ms with one object of all that were measured, whatever they track with."""
    axes = part.subplots()
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


def _objects(part: SubFigure, runs: Sequence[Run]) -> None:
    """Median ms over the number of objects, from the slowest to the fastest round."""
    (run,), axes = runs, part.subplots()
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


def _stages(part: SubFigure, runs: Sequence[Run]) -> None:
    """Stages of a frame stacked, a bar for each number of objects."""
    (run,), axes = runs, part.subplots()
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


def _deadline(part: SubFigure, runs: Sequence[Run]) -> None:
    """Frames, objects and quality level over the seconds of a run."""
    (run,) = runs
    top, middle, bottom = part.subplots(3, 1, sharex=True)
    deadline_fps = run.fact("deadline")
    assert deadline_fps is not None
    top.axhline(deadline_fps, color="grey", linestyle="--", label="deadline")
    for axes, names in ((top, ("tracked",)), (middle, ("objects", "tracked on the frame"))):
        for name in names:
            _step(axes, run, name)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)
    top.set_ylabel("frames/s")
    middle.set_ylabel("objects")
    _step(bottom, run, "quality level")
    bottom.set_ylabel("quality level")
    bottom.set_xlabel("s")
    bottom.invert_yaxis()


def _step(axes: Axes, run: Run, name: str) -> None:
    series = run.find(name)
    assert series is not None
    axes.step(range(len(series.samples)), series.samples, where="post", label=name)


_PICTURES = {
    "objects": Picture(_with_lines, _objects),
    "peers": Picture(_with_bars, _peers),
    "stages": Picture(_of("model"), _stages),
    "deadline": Picture(_of("deadline"), _deadline, height=1.5),
}
