"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
from types import TracebackType

from tracker.cli.terminal import make_console


class Progress:
    """Shows how far a run is, for as long as it is entered."""

    def __init__(self, done: int, total: int) -> None:
        self._total = total
        self._bar = _Bar(done, total) if sys.stderr.isatty() else None

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, done: int) -> None:
        """A step was done."""
        if self._bar is not None:
            self._bar.update(done)

    def say(self, done: int, text: str) -> None:
        """Something worth a line happened at a step."""
        line = f"step {done}/{self._total}: {text}"
        if self._bar is not None:
            self._bar.print(line)
        else:
            print(line, file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, done: int, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.progress import TimeRemainingColumn as TimeLeft

        self._progress = RichProgress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("left"),
            TimeLeft(),
            console=make_console(stderr=True),
        )
        self._task = self._progress.add_task("step", total=total, completed=done)

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def update(self, done: int) -> None:
        self._progress.update(self._task, completed=done)

    def print(self, line: str) -> None:
        self._progress.console.print(line)
