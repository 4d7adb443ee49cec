"""Pixels of the frames of all streams, asked of the daemon by a worker process."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future

from tracker.daemon.workers.messages import AskPixels, LeavePixels, PixelsGiven, packed

ANSWER_S = 10.0


class RemotePixels:
    """`PixelLimit` of the daemon; a reader waits for the answer, nobody else does.

    Where a busy daemon does not answer in time, the stream goes on: that is no fault of its frames,
    and the daemon counts them all the same.

    Args:
        send: Sends a message to the daemon; must not wait.
        most: Pixels of one frame that are never too many by themselves.
    """

    def __init__(self, send: Callable[[list[bytes]], None], most: int) -> None:
        self._send = send
        self._most = most
        self._lock = threading.Lock()
        self._ids = itertools.count()
        self._asked: dict[int, Future[PixelsGiven]] = {}

    def room(self, stream: str) -> int:
        """See `PixelLimit`."""
        given = self._ask(stream, None)
        return self._most if given is None else given.room

    def take(self, stream: str, pixels: int) -> bool:
        """See `PixelLimit`."""
        given = self._ask(stream, pixels)
        return pixels <= self._most if given is None else given.fits

    def leave(self, stream: str) -> None:
        """See `PixelLimit`."""
        self._send(packed(LeavePixels(stream=stream)))

    def answer(self, given: PixelsGiven) -> None:
        """Take an answer in; from the thread that receives."""
        with self._lock:
            asked = self._asked.pop(given.id, None)
        if asked is not None:
            asked.set_result(given)

    def _ask(self, stream: str, pixels: int | None) -> PixelsGiven | None:
        asked: Future[PixelsGiven] = Future()
        with self._lock:
            number = next(self._ids)
            self._asked[number] = asked
        try:
            self._send(packed(AskPixels(id=number, stream=stream, pixels=pixels)))
            return asked.result(ANSWER_S)
        except TimeoutError:
            return None
        finally:
            with self._lock:
                self._asked.pop(number, None)
