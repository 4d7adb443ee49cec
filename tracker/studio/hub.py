"""Hub of all pages: the daemon's streams and events, and a subscription for each stream shown.

Pages come and go. A stream has one subscription, however many pages show it, to the sizes of
pictures that they show; a scene is packed once for all. A stream that nobody looks at is not
subscribed to, so that the daemon makes no pictures of it. Where the daemon is gone the hub says so
to all pages and goes on when it is back.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tracker.client import AsyncClient
from tracker.client.asynchronous import AsyncSubscription
from tracker.client.received import R
from tracker.errors import TrackdError
from tracker.protocol.fields import PreviewSize
from tracker.studio.joining import Scene, SceneJoiner

LIST_EVERY_S = 1.0
_AGAIN_S = 1.0
_LOG = logging.getLogger("trackd.studio")


class Viewer(Protocol):
    """A page, as the hub sees it; neither method may wait."""

    def show(self, scene: Scene) -> None:
        """Take the newest scene of a stream that it watches."""

    def tell(self, message: dict[str, Any]) -> None:
        """Take a message for its JSON channel."""


@dataclass(frozen=True, slots=True)
class _Following:
    """The subscription to one stream."""

    sizes: frozenset[PreviewSize]
    task: "asyncio.Task[None]"


class Hub:
    """Follows a daemon for all pages.

    Args:
        connect: Makes a client of the daemon.
    """

    def __init__(self, connect: Callable[[], AsyncClient]) -> None:
        self._connect = connect
        self._wanted: dict[Viewer, Mapping[str, PreviewSize]] = {}
        self._following: dict[str, _Following] = {}
        self._state: dict[str, Any] = {"type": "streams", "reachable": None, "streams": []}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the daemon for as long as the block lasts."""
        async with self._connect() as self._client:
            always = [asyncio.create_task(self._list()), asyncio.create_task(self._hear())]
            try:
                yield
            finally:
                tasks = [*always, *(one.task for one in self._following.values())]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def join(self, viewer: Viewer) -> None:
        """Report to a page from now on how the daemon is, beginning with how it is now."""
        self._wanted[viewer] = {}
        viewer.tell(self._state)

    def leave(self, viewer: Viewer) -> None:
        """Forget a page."""
        self.watch(viewer, {})
        del self._wanted[viewer]

    def watch(self, viewer: Viewer, sizes: Mapping[str, PreviewSize]) -> None:
        """Send a page the scenes of these streams, in these sizes, and no others."""
        before, self._wanted[viewer] = self._wanted[viewer], dict(sizes)
        for stream in before.keys() | sizes.keys():
            self._subscribe(stream)

    def _subscribe(self, stream: str) -> None:
        """Subscribe to the sizes of a stream that pages show, and to no others."""
        sizes = frozenset(wanted[stream] for wanted in self._wanted.values() if stream in wanted)
        following = self._following.pop(stream, None)
        if following is not None and following.sizes == sizes:
            self._following[stream] = following
            return
        if following is not None:
            following.task.cancel()
        if sizes:
            task = asyncio.create_task(self._follow(stream, sizes))
            self._following[stream] = _Following(sizes, task)

    def _tell_all(self, message: dict[str, Any]) -> None:
        for viewer in list(self._wanted):
            viewer.tell(message)

    async def _list(self) -> None:
        """Ask for the streams again and again, and send them to the pages where they changed."""
        while True:
            state: dict[str, Any] = {"type": "streams", "reachable": True, "streams": []}
            try:
                streams = await self._client.streams()
                state["streams"] = [stream.model_dump(mode="json") for stream in streams]
            except TrackdError as error:
                state |= {"reachable": False, "error": str(error)}
            if state != self._state:
                self._state = state
                self._tell_all(state)
            await asyncio.sleep(LIST_EVERY_S)

    async def _hear(self) -> None:
        """Pass on what happens to streams and objects."""
        async with self._client.events() as events:
            async for received in _readable(events):
                if not received.message.repeated:
                    self._tell_all(received.message.model_dump(mode="json"))

    async def _follow(self, stream: str, sizes: frozenset[PreviewSize]) -> None:
        """Join pictures and masks of a stream, for those who watch it."""
        joiner = SceneJoiner()
        async with self._client.scenes(stream, *sizes) as scenes:
            async for received in _readable(scenes):
                scene = joiner.add(received)
                if scene is None:
                    continue
                for viewer, wanted in list(self._wanted.items()):
                    if wanted.get(stream) is scene.size:
                        viewer.show(scene)


async def _readable(subscription: AsyncSubscription[R]) -> AsyncIterator[R]:
    """Messages of a subscription, without end; damaged ones are left out."""
    while True:
        try:
            received = await subscription.receive(None)
        except TrackdError as error:
            _LOG.warning("a message was left out: %s", error)
            await asyncio.sleep(_AGAIN_S)
            continue
        if received is not None:
            yield received
