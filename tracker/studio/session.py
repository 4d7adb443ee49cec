"""One page: its WebSocket, the pictures that it is sent, and the commands that it gives.

Pictures go out by back-pressure: the page says which it has shown, and never more than `IN_FLIGHT`
are on the way. Of each stream only the newest scene waits, so that a slow page skips frames and
never sees old ones; where they come late all the same, they get smaller.
"""

import logging
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.websockets import WebSocket

from tracker.client import AsyncClient
from tracker.errors import TrackdError, UsageError
from tracker.protocol.fields import PreviewSize, StreamName
from tracker.studio.hub import Hub
from tracker.studio.joining import Scene
from tracker.studio.page_socket import PageSocket
from tracker.studio.picture_size import PictureSize

IN_FLIGHT = 2
MAX_TEXT = 2 * 2**20
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
        self._page = PageSocket(socket, MAX_TEXT)
        self._hub = hub
        self._connect = connect
        self._client: AsyncClient | None = None
        self._stage: str | None = None
        self._tiles: list[str] = []
        self._size = PictureSize()
        self._newest: dict[str, Scene] = {}
        self._in_flight: dict[int, float | None] = {}  # when large ones were sent, by number

    async def serve(self) -> None:
        """Until the page goes, or breaks the rules."""
        self._hub.join(self)
        try:
            await self._page.serve(self._take, self._next_picture)
        finally:
            self._hub.leave(self)
            if self._client is not None:
                self._client.close()

    # --- called by the hub

    def show(self, scene: Scene) -> None:
        """Keep a scene as the newest of its stream."""
        self._newest[scene.stream] = scene
        self._page.wake()

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a message for the page."""
        self._page.tell(message)

    # --- out

    def _next_picture(self) -> bytes | None:
        """Message of the scene to send now, which is in flight from here on; None for none."""
        while (scene := self._next_scene()) is not None:
            try:
                message = scene.packed
            except TrackdError as error:  # damaged masks
                _LOG.warning("stream %s: a scene was left out: %s", scene.stream, error)
                continue
            is_tile = scene.size is PreviewSize.TILE
            self._in_flight[scene.number] = None if is_tile else time.monotonic()
            return message
        return None

    def _next_scene(self) -> Scene | None:
        """Scene to send now: the large view first; None where nothing waits or may go out."""
        if len(self._in_flight) >= IN_FLIGHT or not self._newest:
            return None
        if self._stage in self._newest:
            return self._newest.pop(self._stage)
        return self._newest.pop(next(iter(self._newest)))

    # --- in

    def _take(self, text: str) -> None:
        match _MESSAGE.validate_json(text):
            case Watch() as message:
                self._stage, self._tiles = message.stage, message.tiles
                self._size.fit(message.stage_px)
                self._watch()
            case Shown() as message:
                self._note_shown(message.n)
                self._page.wake()
            case CallRequest() as message:
                self._page.call(message.id, lambda: self._result(message.request))

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

    async def _result(self, request: dict[str, Any]) -> Any:
        op, fields = request.get("op"), {k: v for k, v in request.items() if k != "op"}
        if op not in _CALLABLE:
            raise UsageError("the page may not ask for this")
        if self._client is None:
            self._client = self._connect()
        result = await self._client.call(op, **fields)
        return result.model_dump(mode="json") if isinstance(result, BaseModel) else result
