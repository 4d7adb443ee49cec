"""A project that pages have open: edits are made whole, one after the other."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.annotating import IdleWorker
from tests.support.three_discs import box, write_clip
from tracker.project.library import Library
from tracker.project.messages import DrawnPrompt
from tracker.project.pictures import FramePicture, FramePictures
from tracker.project.prompts import ProjectPrompts
from tracker.project.uploads import Uploads
from tracker.studio import open_project
from tracker.studio.open_project import OpenProject
from tracker.studio.projects import ProjectPages

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
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """With the project discs."""
    monkeypatch.setattr(open_project, "ProjectWorker", Worker)
    library = Library(tmp_path / "projects", [tmp_path])
    library.add(write_clip(tmp_path / "discs.mp4", 2), "discs")
    return library


@pytest.fixture
def with_project(
    library: Library,
) -> Callable[[Callable[[OpenProject, Worker], Awaitable[None]]], None]:
    project = library.open("discs")

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


def test_slow_pictures_take_one_thread(with_project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    goes_on = threading.Event()

    def slow(pictures: FramePictures, number: int, side_px: int) -> FramePicture:
        begun.append(number)
        assert goes_on.wait(PATIENCE_S)
        return FramePicture(b"", number, side_px)

    monkeypatch.setattr(FramePictures, "jpeg", slow)

    async def test(opened: OpenProject, worker: Worker) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        asked = [asyncio.create_task(opened.frame(number, 64)) for number in range(4)]
        while not begun:
            await asyncio.sleep(0.001)
        assert (await asyncio.to_thread(opened.timeline))["objects"] == {}
        assert len(begun) == 1
        goes_on.set()
        assert [found.width for found in await asyncio.gather(*asked)] == [0, 1, 2, 3]

    with_project(test)


def test_an_open_project_does_not_wait_for_one_that_is_being_opened(library: Library) -> None:
    async def run() -> None:
        pages = ProjectPages(library, Uploads(library))
        opened = await pages._opened("discs")
        async with pages._opening:
            assert await asyncio.wait_for(pages._opened("discs"), PATIENCE_S) is opened
        await opened.close()

    asyncio.run(run())
