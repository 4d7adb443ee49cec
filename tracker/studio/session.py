"""One page: its WebSocket, the pictures that it is sent, and the commands that it gives.

Pictures go out by back-pressure: the page says which it has shown, and never more than `IN_FLIGHT`
are on the way. Of each stream only the newest scene waits, so that a slow page skips frames and
never sees old ones; where they come late all the same, they get smaller.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from tracker.client import AsyncClient
from tracker.client.errors import DaemonError
from tracker.errors import TrackdError
from tracker.protocol.fields import PreviewSize, StreamName
from tracker.studio.hub import Hub
from tracker.studio.joining import Scene
from tracker.studio.picture_size import PictureSize
from tracker.studio.token_bucket import TokenBucket

IN_FLIGHT = 2
MAX_TOLD = 256  # JSON messages that wait for a page; a page that leaves more is closed
MAX_CALLS = 8  # commands of one page at a time
MAX_TEXT = 2 * 2**20
MESSAGES_PER_S = 200  # of one page; one that sends more is closed
MESSAGES_BURST = 400
_CALLABLE = frozenset(
    {
        "prompt",
        "object.accept",
        "object.correct",
        "object.remove",
        "object.reset",
        "object.relabel",
        "stream.add",
        "stream.remove",
        "stream.pause",
        "stream.resume",
    }
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Watch(_Strict):
    """The stream that is shown large, and those that are shown as tiles.

    Attributes:
        stage_px: The longer side of the place for the large picture, in pixels of the screen.
    """

    type: Literal["watch"]
    stage: StreamName | None
    stage_px: Annotated[int, Field(ge=0, le=65536)]
    tiles: Annotated[list[StreamName], Field(max_length=256)]


class Shown(_Strict):
    """The page has shown a scene, or left it out."""

    type: Literal["shown"]
    n: Annotated[int, Field(ge=0)]


class CallRequest(_Strict):
    """A request for the daemon, by its fields in the protocol."""

    type: Literal["call"]
    id: Annotated[int, Field(ge=0)]
    request: dict[str, Any]


_LOG = logging.getLogger("trackd.studio")
_MESSAGE: TypeAdapter[Watch | Shown | CallRequest] = TypeAdapter(
    Annotated[Watch | Shown | CallRequest, Field(discriminator="type")]
)


class PageSession:
    """Serves one page until it goes."""

    def __init__(self, socket: WebSocket, hub: Hub, connect: Callable[[], AsyncClient]) -> None:
        self._socket = socket
        self._hub = hub
        self._connect = connect
        self._client: AsyncClient | None = None
        self._stage: str | None = None
        self._tiles: list[str] = []
        self._size = PictureSize()
        self._newest: dict[str, Scene] = {}
        self._told: list[dict[str, Any]] = []
        self._in_flight: dict[int, float | None] = {}  # when large ones were sent, by number
        self._messages = TokenBucket(MESSAGES_PER_S, MESSAGES_BURST)
        self._wake = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Until the page goes, or breaks the rules."""
        await self._socket.accept()
        self._hub.join(self)
        sending = asyncio.create_task(self._send())
        receiving = asyncio.create_task(self._receive())
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(self)
            for task in (sending, receiving, *self._calls):
                task.cancel()
            await asyncio.gather(sending, receiving, *self._calls, return_exceptions=True)
            if self._client is not None:
                self._client.close()

    # --- called by the hub

    def show(self, scene: Scene) -> None:
        """Keep a scene as the newest of its stream."""
        self._newest[scene.stream] = scene
        self._wake.set()

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a message; a list of streams replaces the one that still waits."""
        if message["type"] == "streams":
            self._told = [other for other in self._told if other["type"] != "streams"]
        self._told.append(message)
        self._wake.set()

    # --- out

    async def _send(self) -> None:
        while len(self._told) <= MAX_TOLD:
            told, self._told = self._told, []
            for message in told:
                await self._socket.send_text(json.dumps(message, separators=(",", ":")))
            if (scene := self._next_scene()) is not None:
                await self._send_scene(scene)
                continue
            if not self._told:
                self._wake.clear()
                await self._wake.wait()
        await self._socket.close(1013, "the page does not read what it is sent")

    def _next_scene(self) -> Scene | None:
        """Scene to send now: the large view first; None where nothing waits or may go out."""
        if len(self._in_flight) >= IN_FLIGHT or not self._newest:
            return None
        if self._stage in self._newest:
            return self._newest.pop(self._stage)
        return self._newest.pop(next(iter(self._newest)))

    async def _send_scene(self, scene: Scene) -> None:
        try:
            message = scene.packed
        except TrackdError as error:  # damaged masks
            _LOG.warning("stream %s: a scene was left out: %s", scene.stream, error)
            return
        is_tile = scene.size is PreviewSize.TILE
        self._in_flight[scene.number] = None if is_tile else time.monotonic()
        await self._socket.send_bytes(message)

    # --- in

    async def _receive(self) -> None:
        try:
            while True:
                text = await self._socket.receive_text()
                if len(text) > MAX_TEXT:
                    await self._socket.close(1009, "too long a message")
                    return
                if not self._messages.take():
                    await self._socket.close(1008, "too many messages")
                    return
                try:
                    self._take(_MESSAGE.validate_json(text))
                except ValidationError:
                    await self._socket.close(1008, "that is no message of the page")
                    return
        except (WebSocketDisconnect, KeyError):  # KeyError: bytes in place of text
            return

    def _take(self, message: Watch | Shown | CallRequest) -> None:
        match message:
            case Watch():
                self._stage, self._tiles = message.stage, message.tiles
                self._size.fit(message.stage_px)
                self._watch()
            case Shown():
                self._note_shown(message.n)
                self._wake.set()
            case CallRequest():
                self._begin(message)

    def _watch(self) -> None:
        """Have the hub send what is shown, in the sizes in which it is."""
        sizes = dict.fromkeys(self._tiles, PreviewSize.TILE)
        if self._stage is not None:
            sizes[self._stage] = self._size.size
        waiting = self._newest.items()
        self._newest = {stream: one for stream, one in waiting if sizes.get(stream) is one.size}
        self._hub.watch(self, sizes)

    def _note_shown(self, number: int) -> None:
        """Take in that a scene was shown, and how long that took."""
        sent_s = self._in_flight.pop(number, None)
        if sent_s is None:
            return
        before = self._size.size
        self._size.note(time.monotonic() - sent_s)
        if self._size.size is not before:
            self._watch()

    def _begin(self, call: CallRequest) -> None:
        if len(self._calls) >= MAX_CALLS:
            self._answer(call.id, error="too many commands at once; wait for the others")
            return
        task = asyncio.create_task(self._do(call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _do(self, call: CallRequest) -> None:
        op, fields = call.request.get("op"), {k: v for k, v in call.request.items() if k != "op"}
        if op not in _CALLABLE:
            self._answer(call.id, error="the page may not ask for this")
            return
        if self._client is None:
            self._client = self._connect()
        try:
            result = await self._client.call(op, **fields)
        except DaemonError as error:
            self._answer(call.id, error=error.message, hint=error.hint or "", code=error.code)
        except TrackdError as error:
            self._answer(call.id, error=error.message, hint=error.hint or "")
        else:
            shown = result.model_dump(mode="json") if isinstance(result, BaseModel) else result
            self._answer(call.id, result=shown)

    def _answer(self, call_id: int, **fields: Any) -> None:
        self.tell({"type": "reply", "id": call_id, **fields})
