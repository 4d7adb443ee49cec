"""Recordings sent again: the same bytes, on the same topics, at their pace."""

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import zmq

from tracker.daemon.access.local_users import LocalUserAuthenticator
from tracker.daemon.net.endpoint import parse_bind
from tracker.daemon.net.listen import listen
from tracker.errors import UsageError
from tracker.protocol.recording import NoteTopic
from tracker.replay.recording import RecordedMessage, Recording

_HWM = 1000  # messages on their way to a subscriber; then the replay waits for it
_POLL_MS = 100
_SETTLE_S = 0.5  # without another subscription, after the first
_LINGER_MS = 5000


@dataclass(slots=True)
class Sent:
    """What was sent so far.

    Attributes:
        messages: Their number.
        stopped_early: It was asked to stop.
    """

    messages: int = 0
    stopped_early: bool = False


class ReplaySocket:
    """XPUB socket for programs of this user on this machine; a context manager.

    A subscriber that is slow is waited for: nothing is lost between two ends that are there.

    Args:
        address: Where it listens.

    Raises:
        UsageError: Other machines could reach it: there are no keys.
        TrackdError: It cannot listen there.
    """

    def __init__(self, address: str) -> None:
        if not parse_bind(address).local:
            hint = "give tcp://127.0.0.1:PORT, or ipc://PATH"
            raise UsageError(f"a replay is sent on this machine only, not on {address}", hint)
        with ExitStack() as stack:
            context: zmq.Context[Any] = zmq.Context()
            stack.callback(context.term)
            authenticator = LocalUserAuthenticator()
            authenticator.start(context)
            stack.callback(authenticator.stop)
            self._socket = context.socket(zmq.XPUB)
            stack.callback(self._socket.close, linger=_LINGER_MS)
            self._socket.sndhwm = _HWM
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)
            guarded = authenticator.apply(self._socket)
            stack.callback(guarded.close)
            self.endpoint = listen(self._socket, address)
            self._undo = stack.pop_all()

    def wait_for_subscriber(self, stop_asked: Callable[[], bool]) -> bool:
        """Wait until someone subscribes, and a little for more; False where it was stopped."""
        settled_s = None
        while settled_s is None or time.monotonic() < settled_s:
            if stop_asked():
                return False
            if self._socket.poll(_POLL_MS):
                self._socket.recv()
                settled_s = time.monotonic() + _SETTLE_S
        return True

    def send(self, parts: Sequence[bytes], stop_asked: Callable[[], bool]) -> bool:
        """Send a message, waiting for slow subscribers; False where it was stopped."""
        while True:
            try:
                self._socket.send_multipart(parts, zmq.NOBLOCK)
                return True
            except zmq.Again:
                if stop_asked():
                    return False
                time.sleep(_POLL_MS / 1000)

    def __enter__(self) -> "ReplaySocket":
        return self

    def __exit__(self, *error: object) -> None:
        self._undo.close()


def replay(
    recordings: Sequence[Recording],
    socket: ReplaySocket,
    *,
    speed: float | None = 1.0,
    stop_asked: Callable[[], bool] = lambda: False,
    on_sent: Callable[[Sent], None] = lambda sent: None,
) -> Sent:
    """Send what was recorded again, in the order of its times.

    Args:
        recordings: Of one stream or several.
        socket: On which it is sent.
        speed: Times as fast as it was; None for as fast as subscribers take it.
        stop_asked: Asked before each message.
        on_sent: Called after each message.

    Raises:
        TrackdError: A file is damaged.
    """
    sent = Sent()
    begun_s, first_ns = time.monotonic(), None
    for message in _merged(recordings):
        if first_ns is None:
            first_ns = message.at_ns
        if speed is not None:
            due_s = begun_s + (message.at_ns - first_ns) / 1e9 / speed
            _wait(due_s, stop_asked)
        parts = [message.topic.encode(), *message.parts]
        if stop_asked() or not socket.send(parts, stop_asked):
            sent.stopped_early = True
            break
        sent.messages += 1
        on_sent(sent)
    return sent


def _merged(recordings: Sequence[Recording]) -> Iterator[RecordedMessage]:
    """Messages of all streams by their times; those of one in the order of their files."""
    each = (_messages(recording) for recording in recordings)
    yield from heapq.merge(*each, key=lambda message: message.at_ns)


def _messages(recording: Recording) -> Iterator[RecordedMessage]:
    notes = frozenset(NoteTopic)
    return (message for message in recording.messages() if message.topic not in notes)


def _wait(due_s: float, stop_asked: Callable[[], bool]) -> None:
    while (left_s := due_s - time.monotonic()) > 0 and not stop_asked():
        time.sleep(min(left_s, _POLL_MS / 1000))
