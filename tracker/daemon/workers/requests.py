"""Requests to a worker process that wait: for the process to be ready, and for their answers."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from tracker.daemon.messages import RequestError
from tracker.daemon.tracking.stream_tracker import CommandResult
from tracker.protocol.replies import ErrorCode


@dataclass(slots=True)
class _Waiting:
    """A request that waits.

    Attributes:
        stream: That it is about.
        future: Of its result.
        parked: Its message, while no process is ready that it could be sent to.
    """

    stream: str
    future: "Future[CommandResult]"
    parked: list[bytes] | None = None


class Requests:
    """Futures by the number of their request; from any thread.

    Args:
        worker: Names the worker for people.
        commands_queued: Commands that may wait for one stream.
    """

    def __init__(self, worker: str, commands_queued: int) -> None:
        self._worker = worker
        self._commands_queued = commands_queued
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._closed = False

    def begin(self, stream: str) -> "tuple[int, Future[CommandResult]]":
        """A request of the daemon's own: its number, and the future of its result.

        Raises:
            RequestError: SHUTTING_DOWN, they are closed.
        """
        with self._lock:
            return self._begin(stream)

    def begin_command(self, stream: str) -> "tuple[int, Future[CommandResult]]":
        """A command of somebody who is to wait his turn; otherwise as `begin`.

        Raises:
            RequestError: BUSY, too many wait for the stream; or SHUTTING_DOWN, they are closed.
        """
        with self._lock:
            waiting = sum(one.stream == stream for one in self._waiting.values())
            if waiting >= self._commands_queued:
                raise self.refusal()
            return self._begin(stream)

    def _begin(self, stream: str) -> "tuple[int, Future[CommandResult]]":
        if self._closed:
            raise _shutting_down()
        number, future = next(self._numbers), Future[CommandResult]()
        self._waiting[number] = _Waiting(stream, future)
        return number, future

    def refusal(self) -> RequestError:
        """The error of a command that there is no room for."""
        return RequestError(
            ErrorCode.BUSY,
            f"too many commands wait for worker {self._worker}",
            "wait for their replies, or raise limits.commands_queued",
        )

    def take(self, number: int) -> "tuple[str, Future[CommandResult]] | None":
        """The stream and future of a request, which does not wait any more; None if unknown."""
        with self._lock:
            one = self._waiting.pop(number, None)
        return None if one is None else (one.stream, one.future)

    def park(self, number: int, parts: list[bytes]) -> None:
        """Keep the message of a request until a process is ready, unless it failed meanwhile."""
        with self._lock:
            if (one := self._waiting.get(number)) is not None:
                one.parked = parts

    def unpark(self, send: Callable[[list[bytes]], bool]) -> None:
        """Send the messages that were parked, oldest first; refuse those that find no room."""
        unsent = []
        with self._lock:
            for number, one in self._waiting.items():
                if one.parked is not None and not send(one.parked):
                    unsent.append(number)
                one.parked = None
        for number in unsent:
            self._refuse(number)

    def _refuse(self, number: int) -> None:
        found = self.take(number)
        if found is not None and found[1].set_running_or_notify_cancel():
            found[1].set_exception(self.refusal())

    def fail_all(self, why: str) -> None:
        """Fail all that wait, since the process ended, or was not there: those sent may be done."""
        unconfirmed = RequestError(
            ErrorCode.TIMEOUT,
            f"worker {self._worker} ended before it confirmed this: {why}",
            "it may still be done; look before asking again",
        )
        parked = RequestError(
            ErrorCode.BUSY,
            f"worker {self._worker} did not start: {why}",
            "it was not done; try again later",
        )
        self._fail(unconfirmed, parked)

    def close(self) -> None:
        """Fail all that wait, and all that come, since no process is started any more."""
        with self._lock:
            self._closed = True
        self._fail(_shutting_down(), _shutting_down())

    def _fail(self, unconfirmed: RequestError, parked: RequestError) -> None:
        with self._lock:
            waiting, self._waiting = list(self._waiting.values()), {}
        for one in waiting:
            if one.future.set_running_or_notify_cancel():
                one.future.set_exception(unconfirmed if one.parked is None else parked)


def _shutting_down() -> RequestError:
    return RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down")
