"""The WebSocket of a page: messages and pictures out, messages and calls in, all bounded."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from streams.errors import StreamError
from tracker.client.errors import DaemonError
from tracker.errors import TrackdError
from tracker.studio.token_bucket import TokenBucket

MAX_TOLD = 256  # messages that wait for a page; a page that leaves more is closed
MAX_CALLS = 8  # of one page at a time
MESSAGES_PER_S = 200  # of one page; one that sends more is closed
MESSAGES_BURST = 400
_STATES = frozenset({"streams", "project", "status"})  # types of messages that replace older ones


def _no_picture() -> bytes | None:
    return None


class PageSocket:
    """Carries messages between the studio and one page, until the page goes or breaks the rules."""

    def __init__(self, socket: WebSocket, max_text: int) -> None:
        """Use an accepted WebSocket, for messages of at most `max_text` characters."""
        self._socket = socket
        self._max_text = max_text
        self._told: list[dict[str, Any]] = []
        self._wake = asyncio.Event()
        self._messages = TokenBucket(MESSAGES_PER_S, MESSAGES_BURST)
        self._calls: set[asyncio.Task[None]] = set()

    async def serve(
        self, take: Callable[[str], None], next_picture: Callable[[], bytes | None] = _no_picture
    ) -> None:
        """Carry messages until the end; calls that are not answered by then are cancelled.

        Args:
            take: Gets each message of the page; a ValidationError of it closes the page.
            next_picture: The picture to send now, None for none; asked again after `wake`.
        """
        sending = asyncio.create_task(self._send(next_picture))
        receiving = asyncio.create_task(self._receive(take))
        try:
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = (sending, receiving, *self._calls)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a message; one that says how things are replaces the one that still waits."""
        if message["type"] in _STATES:
            self._told = [other for other in self._told if other["type"] != message["type"]]
        self._told.append(message)
        self.wake()

    def wake(self) -> None:
        """Say that there may be a picture to send."""
        self._wake.set()

    def call(self, number: int, result: Callable[[], Awaitable[Any]]) -> None:
        """Answer a call of the page with a result, or with the error that it ends in."""
        if len(self._calls) >= MAX_CALLS:
            self._answer(number, error="too many requests at once; wait for the others")
            return
        task = asyncio.create_task(self._do(number, result))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _do(self, number: int, result: Callable[[], Awaitable[Any]]) -> None:
        try:
            self._answer(number, result=await result())
        except DaemonError as error:
            self._answer(number, error=error.message, hint=error.hint, code=error.code)
        except (TrackdError, StreamError) as error:
            self._answer(number, error=error.message, hint=error.hint)

    def _answer(self, number: int, **fields: Any) -> None:
        self.tell({"type": "reply", "id": number, **fields})

    async def _send(self, next_picture: Callable[[], bytes | None]) -> None:
        while len(self._told) <= MAX_TOLD:
            told, self._told = self._told, []
            for message in told:
                await self._socket.send_text(json.dumps(message, separators=(",", ":")))
            if (picture := next_picture()) is not None:
                await self._socket.send_bytes(picture)
            elif not self._told:
                self._wake.clear()
                await self._wake.wait()
        await self._socket.close(1013, "the page does not read what it is sent")

    async def _receive(self, take: Callable[[str], None]) -> None:
        try:
            while True:
                text = await self._socket.receive_text()
                if len(text) > self._max_text:
                    await self._socket.close(1009, "too long a message")
                    return
                if not self._messages.take():
                    await self._socket.close(1008, "too many messages")
                    return
                try:
                    take(text)
                except ValidationError:
                    await self._socket.close(1008, "that is no message of the page")
                    return
        except (WebSocketDisconnect, KeyError):  # KeyError: bytes in place of text
            return
