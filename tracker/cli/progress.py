"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from types import TracebackType

from tracker.annotate.job import Tally
from tracker.cli.terminal import make_console

_LINE_EVERY_S = 5.0

OnFrame = Callable[[Tally], None]
Doing = Callable[[Tally], str]


def show_progress(*, quiet: bool) -> Callable[[int | None, Doing], AbstractContextManager[OnFrame]]:
    """Progress for `tracker.annotate.run`; nothing is shown where it is to be quiet."""
    if quiet:
        return lambda total, doing: nullcontext(lambda tally: None)
    return _Bar if sys.stderr.isatty() else _Lines


class _Lines:
    def __init__(self, total: int | None, doing: Doing) -> None:
        self._total = total
        self._doing = doing
        self._next_s = time.monotonic()

    def __enter__(self) -> OnFrame:
        return self._show

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lines need no end."""

    def _show(self, tally: Tally) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _LINE_EVERY_S
        of_total, left = "", ""
        if self._total is not None:
            of_total = f"/{self._total}"
            left_s = (self._total - tally.frames) / max(tally.fps, 1e-9)
            left = f", {timedelta(seconds=round(left_s))} left"
        objects = len(tally.frames_by_object)
        done = f"{self._doing(tally)} {tally.frames}{of_total}"
        line = f"{done}, {tally.fps:.1f} fps, objects: {objects}{left}"
        print(line, file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, total: int | None, doing: Doing) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        self._doing = doing
        self._progress = Progress(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[fps]:.1f} fps, objects: {task.fields[objects]}, left"),
            TimeLeft(),
            console=make_console(stderr=True),
        )
        self._task = self._progress.add_task("frame", total=total, fps=0.0, objects=0)

    def __enter__(self) -> OnFrame:
        self._progress.start()
        return self._show

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def _show(self, tally: Tally) -> None:
        self._progress.update(
            self._task,
            description=self._doing(tally),
            completed=tally.frames,
            fps=tally.fps,
            objects=len(tally.frames_by_object),
        )
