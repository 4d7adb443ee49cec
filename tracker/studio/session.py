"""One page: its WebSocket, the pictures that it is sent, and the commands that it gives.

Pictures go out by back-pressure: the page says which it has shown, and never more than `IN_FLIGHT`
are on the way. Of each stream only the newest scene waits, so that a slow page skips frames and
never sees old ones.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from tracker.client import AsyncClient
from tracker.client.errors import DaemonError
from tracker.errors import TrackdError
from tracker.protocol.fields import StreamName
from tracker.studio.hub import Hub
from tracker.studio.joining import Scene
from tracker.studio.scene_message import scene_message, tile_message

IN_FLIGHT = 2
MAX_TOLD = 256  # JSON messages that wait for a page; a page that leaves more is closed
MAX_CALLS = 8  # commands of one page at a time
MAX_TEXT = 2 * 2**20
TILE_EVERY_S = 0.5
TILE_SIDE_PX = 320
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
    """Selection of the stream shown large, and of those shown as tiles."""

    type: Literal["watch"]
    stage: StreamName | None
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
        self._client = connect()
        self._stage: str | None = None
        self._newest: dict[str, Scene] = {}
        self._tile_due_s: dict[str, float] = {}
        self._told: list[dict[str, Any]] = []
        self._in_flight: set[int] = set()
        self._sent = 0
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
            self._client.close()

    # --- called by the hub

    def show(self, scene: Scene) -> None:
        """Keep a scene as the newest of its stream."""
        self._newest[scene.result.stream] = scene
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
                with_tiles_s = TILE_EVERY_S if self._newest else None
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), with_tiles_s)
        await self._socket.close(1013, "the page does not read what it is sent")

    def _next_scene(self) -> Scene | None:
        """Scene to send now: the large view first; None where nothing is due."""
        if len(self._in_flight) >= IN_FLIGHT:
            return None
        if self._stage in self._newest:
            return self._newest.pop(self._stage)
        now_s = time.monotonic()
        for stream in self._newest:
            if self._tile_due_s.get(stream, 0.0) <= now_s:
                self._tile_due_s[stream] = now_s + TILE_EVERY_S
                return self._newest.pop(stream)
        return None

    async def _send_scene(self, scene: Scene) -> None:
        self._sent += 1
        number, stage = self._sent, scene.result.stream == self._stage
        try:
            if stage:
                message = scene_message(scene, number=number, stage=True)
            else:
                message = await asyncio.to_thread(
                    tile_message, scene, number=number, side_px=TILE_SIDE_PX
                )
        except (ValueError, TrackdError) as error:  # a damaged picture, or masks
            _LOG.warning("stream %s: a scene was left out: %s", scene.result.stream, error)
            return
        self._in_flight.add(number)
        await self._socket.send_bytes(message)

    # --- in

    async def _receive(self) -> None:
        try:
            while True:
                text = await self._socket.receive_text()
                if len(text) > MAX_TEXT:
                    await self._socket.close(1009, "too long a message")
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
                self._stage = message.stage
                wanted = {*message.tiles, *([] if message.stage is None else [message.stage])}
                self._newest = {s: scene for s, scene in self._newest.items() if s in wanted}
                self._tile_due_s = {s: at for s, at in self._tile_due_s.items() if s in wanted}
                self._hub.watch(self, wanted)
            case Shown():
                self._in_flight.discard(message.n)
                self._wake.set()
            case CallRequest():
                self._begin(message)

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
