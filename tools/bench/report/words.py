"""Numbers and tables as Markdown."""

from collections.abc import Iterable, Sequence

from tools.bench.record import Contender, Machine, Run
from tools.bench.stats import Spread

NOTHING = "-"


def number(value: float) -> str:
    """Three digits that count, or all those before the point."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def plain(text: str) -> str:
    """A message of another program, without what Markdown would take for its own."""
    return text.translate(str.maketrans("|`*_<>", "/''   ")).strip()


def problem(run: Run, one: Contender) -> str:
    """Reason that it was not measured, or not in every case."""
    measured = any(series.name == one.name for series in run.series)
    what = "could not be measured in every case" if measured else "could not be measured"
    return f"{what}: {plain(one.problem)}"


def times(ratio: Spread) -> str:
    """A ratio and its spread over the rounds."""
    return f"{ratio.median:.2f} ({ratio.least:.2f} to {ratio.most:.2f})"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> list[str]:
    """A table whose first `left` columns hold words and whose others hold numbers."""
    rule = "---|" * left + "---:|" * (len(headings) - left)
    return [
        f"| {' | '.join(headings)} |",
        f"|{rule}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def machine_words(machine: Machine) -> str:
    """A machine in half a line."""
    cpus = "1 CPU" if machine.cpus == 1 else f"{machine.cpus} CPUs"
    what = f"{machine.cpu}, {cpus}, {number(machine.memory_gib)} GiB"
    return f"{machine.accelerator}, {what}" if machine.accelerator else what
