"""A project that pages have open: edits are made whole, one after the other."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.annotating import IdleWorker
from tests.support.three_discs import box, write_clip
from tracker.project.library import Library
from tracker.project.messages import DrawnPrompt
from tracker.project.prompts import ProjectPrompts
from tracker.studio import open_project
from tracker.studio.open_project import OpenProject

PATIENCE_S = 60.0
DRAWN = DrawnPrompt(frame=0, box=box(0, 0))


class Worker(IdleWorker):
    """A worker that notes what it is told."""

    noted: list[str]

    async def start(self) -> None:
        await super().start()
        self.noted = []

    async def changed(self) -> None:
        self.noted.append("changed")

    async def stop(self) -> None:
        self.noted.append("stopped")


@pytest.fixture
def with_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[OpenProject, Worker], Awaitable[None]]], None]:
    monkeypatch.setattr(open_project, "ProjectWorker", Worker)
    library = Library(tmp_path / "projects", [tmp_path])
    project = library.add(write_clip(tmp_path / "discs.mp4", 2), "discs")

    def run(test: Callable[[OpenProject, Worker], Awaitable[None]]) -> None:
        async def opened() -> None:
            of = OpenProject(project, library)
            await of.start()
            assert isinstance(of.worker, Worker)
            try:
                await asyncio.wait_for(test(of, of.worker), PATIENCE_S)
            finally:
                await of.close()

        asyncio.run(opened())

    return run


class SlowDisk:
    """Prompts are written once the test lets them be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.goes_on = threading.Event(), threading.Event()
        save = ProjectPrompts.save

        def slow(prompts: ProjectPrompts, path: Path) -> None:
            self.begun.set()
            assert self.goes_on.wait(PATIENCE_S)
            save(prompts, path)

        monkeypatch.setattr(ProjectPrompts, "save", slow)


def test_an_edit_whose_page_goes_away_is_made_whole(
    with_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(opened: OpenProject, worker: Worker) -> None:
        disk = SlowDisk(monkeypatch)
        edit = asyncio.create_task(opened.prompt(None, DRAWN))
        await asyncio.to_thread(disk.begun.wait, PATIENCE_S)
        edit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await edit
        disk.goes_on.set()
        assert await opened.undo()  # after the edit
        assert worker.noted == ["changed", "changed"]
        assert not opened.project.prompts_path.exists()

    with_project(test)


def test_it_is_closed_after_the_edits_that_were_begun(
    with_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(opened: OpenProject, worker: Worker) -> None:
        disk = SlowDisk(monkeypatch)
        edit = asyncio.create_task(opened.prompt(None, DRAWN))
        await asyncio.to_thread(disk.begun.wait, PATIENCE_S)
        closing = asyncio.create_task(opened.close())
        await asyncio.sleep(0.01)
        disk.goes_on.set()
        await asyncio.gather(edit, closing)
        assert worker.noted == ["changed", "stopped"]
        assert [item["id"] for item in opened.state()["objects"]] == [1]

    with_project(test)
