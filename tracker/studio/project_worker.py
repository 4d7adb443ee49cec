"""The process that tracks one project, as the studio talks to it."""

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from tracker.errors import TrackdError
from tracker.project.messages import (
    EVENT,
    MAX_LINE_BYTES,
    Changed,
    Draft,
    DraftMask,
    DraftRefused,
    DrawnPrompt,
    Request,
    Status,
    Stop,
    Track,
)

DRAFT_TIMEOUT_S = 120.0  # the model may have to be loaded first
_STOP_S = 10.0
_LOG = logging.getLogger("trackd.studio")


class ProjectWorker:
    """A process that is started when it is needed, and again by `track` where it has ended.

    Attributes:
        status: What it said last.
    """

    def __init__(
        self, folder: Path, roots: tuple[Path, ...], tell: Callable[[Status], None]
    ) -> None:
        """Track the project in `folder` from sources under `roots`; `tell` takes its status."""
        self._command = (sys.executable, "-m", "tracker.project.worker", str(folder))
        self._roots = tuple(map(str, roots))
        self._tell = tell
        self._process: Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._drafts: dict[int, asyncio.Future[DraftMask]] = {}
        self._sent = 0
        self._starting = asyncio.Lock()  # or ending
        self.status = Status(state="loading")

    async def start(self) -> None:
        """Start the process, unless it runs.

        Raises:
            TrackdError: It cannot be started.
        """
        async with self._starting:
            if self._process is not None and self._process.returncode is None:
                return
            if self._listening is not None:  # to one that has ended
                await self._listening
            self._process = await self._begun()
            self._listening = asyncio.create_task(self._listen(self._process))

    async def stop(self) -> None:
        """Have it keep what it tracked, and end."""
        async with self._starting:
            process, self._process = self._process, None
            if process is not None:
                await self._end(process)

    async def track(self) -> None:
        """Let it track.

        Raises:
            TrackdError: As `start`.
        """
        await self.start()
        await self._send(Track())

    async def pause(self) -> None:
        """Stop tracking; drafts go on."""
        await self._send(Stop())

    async def changed(self) -> None:
        """Say that the prompts on the disk have changed, or `backward` of the settings.

        Raises:
            TrackdError: As `start`.
        """
        # Until it says otherwise, something may be left to track.
        self.status = self.status.model_copy(update={"state": "tracking", "done": False})
        await self.start()
        await self._send(Changed())

    async def draft(self, object_id: int, prompt: DrawnPrompt) -> DraftMask:
        """The mask that a prompt would give.

        Raises:
            TrackdError: There is none, or it takes too long.
        """
        await self.start()
        self._sent += 1
        number = self._sent
        future: asyncio.Future[DraftMask] = asyncio.get_running_loop().create_future()
        self._drafts[number] = future
        try:
            await self._send(Draft(id=number, object=object_id, prompt=prompt))
            return await asyncio.wait_for(future, DRAFT_TIMEOUT_S)
        except TimeoutError as error:
            raise TrackdError(
                "the mask takes too long", "try again, or accept it unseen"
            ) from error
        finally:
            del self._drafts[number]

    async def _begun(self) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self._command, *self._roots, stdin=PIPE, stdout=PIPE, limit=MAX_LINE_BYTES
            )
        except OSError as error:
            failure = TrackdError(
                f"the process that tracks cannot be started: {error.strerror}", "track again"
            )
            self._take(Status(state="failed", error=str(failure)))
            raise failure from error

    async def _end(self, process: Process) -> None:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._listening is not None:
            await self._listening

    async def _send(self, request: Request) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(ConnectionError):  # it has ended: `_listen` says so
            process.stdin.write(request.model_dump_json().encode() + b"\n")
            await process.stdin.drain()

    async def _listen(self, process: Process) -> None:
        """Take what the process says, until it ends."""
        assert process.stdout is not None
        while line := await process.stdout.readline():
            try:
                self._take(EVENT.validate_json(line))
            except ValidationError:
                _LOG.warning("the worker of a project said something else than an event")
        code = await process.wait()
        if self._process is process and self.status.state != "failed":
            self._take(Status(state="failed", error=f"the worker ended with {code}; track again"))
        for future in self._drafts.values():
            if not future.done():
                future.set_exception(TrackdError("tracking has ended", self.status.error))

    def _take(self, event: DraftMask | DraftRefused | Status) -> None:
        match event:
            case Status():
                self.status = event
                self._tell(event)
            case DraftMask():
                future = self._drafts.get(event.id)
                if future is not None and not future.done():
                    future.set_result(event)
            case DraftRefused():
                future = self._drafts.get(event.id)
                if future is not None and not future.done():
                    future.set_exception(TrackdError(event.message, event.hint))
