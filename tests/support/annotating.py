"""`trackd studio` for files as a process, and a person's hands on its page."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.support.warm_python import python
from tracker.project.messages import Status
from tracker.studio.project_worker import ProjectWorker

PATIENCE_S = 300.0


class IdleWorker(ProjectWorker):
    """A worker that tracks nothing, and says that all is tracked."""

    async def start(self) -> None:
        self.status = Status(state="idle", tracked_to=10**6, done=True)


@dataclass
class StudioProcess:
    """`trackd studio --folder`; a context manager that ends it."""

    folder: Path
    projects: Path
    options: tuple[str, ...] = ()

    def start(self) -> Self:
        """Start it, and wait for its address."""
        command = [
            *python(),
            "-m",
            "tracker.cli.main",
            "studio",
            "--no-browser",
            "--port",
            "0",
        ]
        command += ["--folder", str(self.folder), "--projects", str(self.projects), *self.options]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert line.startswith("studio: "), line + self.process.stderr.read()
        self.address = line.removeprefix("studio: ").strip()
        self.origin = self.address.partition("/annotate")[0]
        return self

    def kill(self) -> None:
        """End it as a power cut would; what it started must end by itself."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)


def until(page: Any, condition: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition; Playwright's own way needs eval, which the page forbids."""
    end_s = time.monotonic() + patience_s
    while not page.evaluate(condition):
        shown = page.inner_text("body") if time.monotonic() > end_s else ""
        assert not shown, f"never came true: {condition}; the page says:\n{shown}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Hands:
    """What a person does on the page of a project of `width` x `height` pixels."""

    page: Any
    width: int
    height: int

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the source is on the screen."""
        box = self.page.locator("#canvas").bounding_box()
        scale = min(box["width"] / self.width, box["height"] / self.height)
        left = box["x"] + (box["width"] - self.width * scale) / 2
        top = box["y"] + (box["height"] - self.height * scale) / 2
        return left + x * scale, top + y * scale

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """A box, and its draft."""
        self.page.mouse.move(*self.at(x0, y0))
        self.page.mouse.down()
        self.page.mouse.move(*self.at((x0 + x1) / 2, (y0 + y1) / 2))
        self.page.mouse.move(*self.at(x1, y1))
        self.page.mouse.up()
        until(self.page, "document.getElementById('canvas').dataset.draft !== undefined")

    def click(self, x: float, y: float, button: str = "left") -> None:
        """A click, and its draft."""
        self.page.mouse.click(*self.at(x, y), button=button)
        until(self.page, "document.getElementById('canvas').dataset.draft !== undefined")

    def accept(self, objects: int) -> None:
        """Keep what is drawn; so many objects are there then."""
        self.page.keyboard.press("Enter")
        until(self.page, "document.getElementById('accept').disabled")
        until(self.page, f"document.querySelectorAll('#objects li').length === {objects}")

    def go(self, frame: int) -> None:
        """Show a frame."""
        self.page.fill("#number", str(frame))
        self.page.keyboard.press("Enter")
        self.page.locator("#canvas").focus()
        until(self.page, f"document.getElementById('canvas').dataset.seq === '{frame}'")

    def choose(self, number: int | None) -> None:
        """Choose the object of a number in the list; None for a new one."""
        self.page.keyboard.press(str(number or 0))

    def until_tracked(self) -> None:
        """Wait until everything is tracked."""
        until(self.page, "document.getElementById('tracking').dataset.state === 'idle'")
