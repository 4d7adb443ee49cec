"""Requests to a worker process that wait for their answers."""

import itertools
import threading
from concurrent.futures import Future

from tracker.daemon.messages import RequestError
from tracker.daemon.tracking.stream_tracker import CommandResult


class Requests:
    """Futures by the number of their request; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[str, Future[CommandResult]]] = {}

    def begin(self, stream: str) -> "tuple[int, Future[CommandResult]]":
        """A new request about a stream: its number, and the future of its result."""
        future: Future[CommandResult] = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = stream, future
        return number, future

    def take(self, number: int) -> "tuple[str, Future[CommandResult]] | None":
        """The stream and future of a request, which does not wait any more; None if unknown."""
        with self._lock:
            return self._waiting.pop(number, None)

    def fail_all(self, error: RequestError) -> None:
        """Fail all that wait."""
        with self._lock:
            waiting, self._waiting = list(self._waiting.values()), {}
        for _, future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
