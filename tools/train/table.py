"""Tables that grow by a row at a time, as CSV, and can be cut back to an earlier step."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from tracker.errors import OutputError

STEP = "step"


class Table:
    """A CSV file whose first column is the step."""

    def __init__(self, path: Path, columns: tuple[str, ...], *, up_to_step: int) -> None:
        """Open a table, less the rows after a step: they are computed again.

        Raises:
            OutputError: The file cannot be written.
        """
        self._path, self._columns = path, (STEP, *columns)
        rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="") as file:
                rows = [r for r in csv.DictReader(file) if (r[STEP] or "").isdigit()]
        self._write("w", self._text([r for r in rows if int(r[STEP]) <= up_to_step], header=True))

    def add(self, step: int, values: Mapping[str, str]) -> None:
        """Append a row.

        Raises:
            OutputError: The file cannot be written.
        """
        self._write("a", self._text([{STEP: str(step), **values}], header=False))

    def _text(self, rows: list[dict[str, str]], *, header: bool) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, extrasaction="ignore", restval="")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _write(self, mode: str, text: str) -> None:
        try:
            with self._path.open(mode, newline="") as file:
                file.write(text)
        except OSError as err:
            raise OutputError(f"cannot write {self._path}: {err.strerror}", "make room") from err
