"""Writes pages and plots beside the records, and the section of docs/benchmarks.md."""

import shutil
from pathlib import Path

from tools.bench.record import Record
from tools.bench.report import markdown, plots, summary
from tracker.errors import OutputError

PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"


def records_of(results: Path) -> dict[Path, Record]:
    """All records of a folder of results, machine by machine.

    Raises:
        TrackdError: One is damaged.
    """
    return {path: Record.read(path) for path in sorted(results.glob("*/*.json"))}


def write_report(results: Path) -> list[Path]:
    """Write a page and plots for every record, and the section; return what was written.

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
        written += _copy_shown(record, path.parent)
    _write(PAGE, summary.replaced(PAGE.read_text(), list(records.values())))
    return [*written, PAGE]


def _copy_shown(record: Record, folder: Path) -> list[Path]:
    """Copy the plots that the section shows to where the documentation is built from."""
    copies = []
    for name in summary.shown_plots(record.runs):
        copy = PAGE.parent / summary.PLOTS / f"{folder.name}-{name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copies.append(Path(shutil.copyfile(folder / name, copy)))
    return copies


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as err:
        raise OutputError(f"cannot write {path}: {err.strerror}") from err
