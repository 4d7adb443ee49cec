"""Records as Markdown."""

from collections.abc import Callable, Sequence

from tools.bench.record import Case, Contender, Record, Run
from tools.bench.report.model_table import model_lines
from tools.bench.report.outputs_table import outputs_lines
from tools.bench.report.track_table import track_lines
from tools.bench.report.words import machine_words, number, problem, table
from tools.bench.stats import percentiles

_OWN_TABLES: dict[str, Callable[[Run], list[str]]] = {
    "track": track_lines,
    "model": model_lines,
    "outputs": outputs_lines,
}


def page(record: Record, plots: Sequence[str] = ()) -> str:
    """The page of a record, its plots at the top."""
    lines = [
        "Made by `python -m tools.bench report` from the JSON beside it; "
        "[how it is measured](../../README.md).",
        "",
    ]
    for plot in plots:
        lines += [f"![{plot}]({plot})", ""]
    for run in record.runs:
        lines += section(run)
    return "\n".join(lines).rstrip() + "\n"


def section(run: Run) -> list[str]:
    """A run: what was asked for, under which conditions, and what came of it."""
    lines = [f"## {run.suite}, {run.setting}", "", f"`{run.command}`", "", _conditions(run), ""]
    if run.contenders:
        lines += [*(_contender(run, one) for one in run.contenders), ""]
    lines += _OWN_TABLES.get(run.suite, plain_lines)(run)
    lines += [line for note in run.notes for line in (note, "")]
    if run.failure:
        lines += [f"**Failed: {run.failure}**", ""]
    return lines


def _conditions(run: Run) -> str:
    parts = [f"{run.day}, {machine_words(run.machine)}, {run.machine.system}"]
    parts += [" ".join(item) for item in run.versions.items()]
    if run.subject is not None:
        subject = run.subject
        parts.append(
            f"{subject.model} at {subject.input_px} px ({subject.weights} weights), "
            f"{subject.dtype} on {subject.device}, {subject.threads} threads"
        )
    if run.footage is not None:
        shown = run.footage
        decoding = "decoding timed" if shown.decoding_timed else "decoding not timed"
        parts.append(f"{shown.clip} at {shown.width}x{shown.height}, {decoding}")
    if run.series:
        counts = sorted({(len(s.rounds), len(s.rounds[0])) for s in run.series if s.rounds})
        parts.append(" and ".join(f"{rounds} rounds of {each}" for rounds, each in counts))
        parts.append(f"{run.warm_up} before them")
    return "; ".join(parts) + "."


def _contender(run: Run, one: Contender) -> str:
    packages = ", ".join(" ".join(item) for item in one.versions.items())
    how = f"{one.how} ({packages})" if packages else one.how
    why_not = f" **It {problem(run, one)}**" if one.problem else ""
    return f"- {one.name}: {how}.{why_not}"


def plain_lines(run: Run) -> list[str]:
    """All series and all facts, as they come."""
    lines = []
    if run.series:
        rows = []
        for series in run.series:
            p = percentiles(series.samples)
            values = [number(value) for value in (p.p50, p.p95, p.p99)]
            rows.append([series.name, _case(series.case), *values, series.unit])
        lines += table(["", "", "p50", "p95", "p99", ""], rows, left=2)
    if run.facts:
        lines += table(
            ["", "", "", ""],
            [[f.name, _case(f.case), number(f.value), f.unit] for f in run.facts],
            left=2,
        )
    return lines


def _case(case: Case) -> str:
    return ", ".join(f"{key} {value}" for key, value in case.items())
