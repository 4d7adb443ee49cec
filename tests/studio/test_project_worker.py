"""The studio's side of a project's worker: one process, however many ask for it."""

import asyncio
import errno
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracker.errors import TrackdError
from tracker.project.messages import Status
from tracker.studio import project_worker
from tracker.studio.project_worker import ProjectWorker


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """Processes that were started; they do nothing until their input ends."""
    processes: list[Process] = []
    execute: Callable[..., Any] = asyncio.create_subprocess_exec

    async def start(*command: str, **options: Any) -> Process:
        waits = (sys.executable, "-S", "-c", "import sys; sys.stdin.read()")
        processes.append(await execute(*waits, **options))
        return processes[-1]

    monkeypatch.setattr(project_worker.asyncio, "create_subprocess_exec", start)
    return processes


def test_one_process_is_started_for_all_who_ask_at_once(started: list[Process]) -> None:
    async def run() -> None:
        worker = ProjectWorker(Path("project"), (), lambda status: None)
        await asyncio.gather(worker.start(), worker.changed(), worker.track())
        assert len(started) == 1
        await asyncio.gather(worker.stop(), worker.start())
        assert [process.returncode for process in started] == [0, None]
        await worker.stop()
        assert [process.returncode for process in started] == [0, 0]

    asyncio.run(run())


def test_a_process_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*command: str, **options: Any) -> Process:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(project_worker.asyncio, "create_subprocess_exec", refused)
    told: list[Status] = []

    async def run() -> None:
        worker = ProjectWorker(Path("project"), (), told.append)
        for asked in (worker.changed, worker.track):
            with pytest.raises(TrackdError, match="cannot be started: Resource temporarily"):
                await asked()
            assert told.pop().state == worker.status.state == "failed"
        await worker.stop()

    asyncio.run(run())
