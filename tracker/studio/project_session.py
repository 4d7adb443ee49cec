"""The WebSocket of a page that shows a project: its edits in, status and answers out."""

import asyncio
import json
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from streams.errors import StreamError
from tracker.errors import TrackdError
from tracker.project.messages import DrawnPrompt
from tracker.studio.open_project import OpenProject

MAX_TEXT = 6 * 2**20  # a painted mask is the longest
MAX_TOLD = 256  # messages that wait for a page; a page that leaves more is closed
MAX_CALLS = 8  # requests of one page at a time
_Id = Annotated[int, Field(ge=1, le=10**9)]
_FrameNumber = Annotated[int, Field(ge=0, le=10**9)]
_Label = Annotated[str, Field(min_length=1, max_length=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DraftRequest(_Strict):
    """The mask that a prompt would give; `object` is None for a new one."""

    op: Literal["draft"]
    object: _Id | None = None
    prompt: DrawnPrompt


class PromptRequest(_Strict):
    """A prompt to keep."""

    op: Literal["prompt"]
    object: _Id | None = None
    prompt: DrawnPrompt


class AtFrame(_Strict):
    """What concerns an object on a frame."""

    op: Literal["remove_prompt", "end_object"]
    object: _Id
    frame: _FrameNumber


class OfObject(_Strict):
    """What concerns an object."""

    op: Literal["remove_object"]
    object: _Id


class Relabel(_Strict):
    """A name for an object; None takes it away."""

    op: Literal["relabel"]
    object: _Id
    label: _Label | None


class Plain(_Strict):
    """What concerns the project."""

    op: Literal["undo", "track", "stop"]


class Backward(_Strict):
    """Whether objects are tracked towards the start, too."""

    op: Literal["backward"]
    on: bool


ProjectRequest = Annotated[
    DraftRequest | PromptRequest | AtFrame | OfObject | Relabel | Plain | Backward,
    Field(discriminator="op"),
]


class Call(_Strict):
    """A request, and the number by which it is answered."""

    type: Literal["call"]
    id: Annotated[int, Field(ge=0)]
    request: ProjectRequest


_CALL: TypeAdapter[Call] = TypeAdapter(Call)


class ProjectSession:
    """Serves one page until it goes."""

    def __init__(self, socket: WebSocket, opened: OpenProject) -> None:
        self._socket = socket
        self._opened = opened
        self._told: list[dict[str, Any]] = []
        self._wake = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Until the page goes, or breaks the rules."""
        self._opened.join(self)
        tasks = asyncio.create_task(self._send()), asyncio.create_task(self._receive())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._opened.leave(self)
            for task in (*tasks, *self._calls):
                task.cancel()
            await asyncio.gather(*tasks, *self._calls, return_exceptions=True)

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a message; one that says how things are replaces those before it."""
        if message["type"] != "reply":
            self._told = [other for other in self._told if other["type"] != message["type"]]
        self._told.append(message)
        self._wake.set()

    async def _send(self) -> None:
        while len(self._told) <= MAX_TOLD:
            told, self._told = self._told, []
            for message in told:
                await self._socket.send_text(json.dumps(message, separators=(",", ":")))
            if not self._told:
                self._wake.clear()
                await self._wake.wait()
        await self._socket.close(1013, "the page does not read what it is sent")

    async def _receive(self) -> None:
        with suppress(WebSocketDisconnect, KeyError):  # KeyError: bytes in place of text
            while True:
                text = await self._socket.receive_text()
                try:
                    if len(text) > MAX_TEXT:
                        raise ValueError
                    self._begin(_CALL.validate_json(text))
                except ValueError:
                    await self._socket.close(1008, "that is no message of the page")
                    return

    def _begin(self, call: Call) -> None:
        if len(self._calls) >= MAX_CALLS:
            self._answer(call.id, error="too many requests at once; wait for the others")
            return
        task = asyncio.create_task(self._do(call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _do(self, call: Call) -> None:
        try:
            result = await self._result(call.request)
        except ValidationError:
            self._answer(call.id, error="that is no prompt")
        except (TrackdError, StreamError) as error:
            self._answer(call.id, error=error.message, hint=error.hint)
        else:
            self._answer(call.id, result=result)

    async def _result(self, request: ProjectRequest) -> Any:
        opened = self._opened
        match request:
            case DraftRequest():
                return await opened.draft(request.object, request.prompt)
            case PromptRequest():
                return await opened.prompt(request.object, request.prompt)
            case AtFrame(op="remove_prompt"):
                return await opened.remove_prompt(request.object, request.frame)
            case AtFrame():
                return await opened.end_object(request.object, request.frame)
            case OfObject():
                return await opened.remove_object(request.object)
            case Relabel():
                return await opened.relabel(request.object, request.label)
            case Backward():
                return await opened.track_backward(request.on)
            case Plain(op="undo"):
                return await opened.undo()
            case Plain(op="track"):
                return await opened.worker.track()
            case _:
                return await opened.worker.pause()

    def _answer(self, call_id: int, **fields: Any) -> None:
        self.tell({"type": "reply", "id": call_id, **fields})
