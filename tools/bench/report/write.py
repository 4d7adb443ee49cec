"""Writes pages, plots and the section of the README."""

from pathlib import Path

from tools.bench.record import Record
from tools.bench.report import markdown, plots, readme
from tracker.errors import OutputError

README = Path(__file__).parents[3] / "README.md"


def records_of(results: Path) -> dict[Path, Record]:
    """All records of a folder of results, machine by machine.

    Raises:
        TrackdError: One is damaged.
    """
    return {path: Record.read(path) for path in sorted(results.glob("*/*.json"))}


def write_report(results: Path) -> list[Path]:
    """Write a page and plots for every record, and the README's section; return what was written.

    Raises:
        TrackdError: A record is damaged, or a page cannot be written.
    """
    written = []
    records = records_of(results)
    for path, record in records.items():
        drawn = plots.draw(record, path)
        page = path.with_suffix(".md")
        _write(page, markdown.page(record, [plot.name for plot in drawn]))
        written += [page, *drawn]
    _write(README, readme.replaced(README.read_text(), list(records.values())))
    return [*written, README]


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as err:
        raise OutputError(f"cannot write {path}: {err.strerror}") from err
