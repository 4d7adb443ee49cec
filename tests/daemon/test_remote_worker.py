"""What a worker process answers where it is refused a thread, or fails."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from tests.support.small_pico import small_pico
from tracker.daemon.config.schema import DaemonConfig
from tracker.daemon.messages import Command, ListCommand, RequestError, SaveCommand
from tracker.daemon.workers import messages as say
from tracker.daemon.workers.channel import Channel
from tracker.daemon.workers.local import LocalWorker
from tracker.daemon.workers.remote import RemoteWorker
from tracker.engine import Policy
from tracker.protocol.data import EventName
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode

PATIENCE_S = 60.0


class Remote:
    """A worker as in its process, and the daemon's end of the channel."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        setup = say.Setup(name="0", config=DaemonConfig(), epoch="1f", threads=1)
        self.worker = RemoteWorker(Channel(theirs), setup, small_pico(), Policy())

    def do(self, message: say.ToWorker) -> None:
        self.worker._do(message, [])

    def said(self) -> tuple[say.FromWorker, list[bytes]]:
        """The next message but reports."""
        while True:
            parts = self.channel.receive(PATIENCE_S)
            assert parts is not None
            message = say.from_worker(parts)
            if not isinstance(message, say.Report):
                return message, parts

    def submit(self, number: int, command: Command) -> None:
        parts = say.pack_command(number, "cam", b"", command)
        self.worker._do(say.to_worker(parts), parts)

    def done(self) -> say.Done:
        """The next answer."""
        while True:
            message, _ = self.said()
            if isinstance(message, say.Done):
                return message

    def add(self, *, paused: bool) -> None:
        settings = StreamSettings(url="rtsp://127.0.0.1:9/1")
        add = say.AddStream(
            stream="cam", settings=settings, first_seq=7, paused=paused, trusted=True, own_ports=()
        )
        self.do(add)


@pytest.fixture
def remote() -> Iterator[Remote]:
    remote = Remote()
    yield remote
    remote.worker._worker.stop(PATIENCE_S)
    remote.channel.close()


@pytest.mark.parametrize("paused", [False, True])
def test_a_stream_that_has_no_thread_is_told_as_failed(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    def refuse(*args: object, **settings: object) -> None:
        raise RequestError(ErrorCode.LIMIT, "no more threads")

    monkeypatch.setattr(LocalWorker, "add", refuse)
    remote.add(paused=paused)
    message, parts = remote.said()
    assert isinstance(message, say.Happened)
    event = say.read_event(parts)
    assert (event.stream, event.name) == ("cam", EventName.STREAM_FAILED)
    assert "no more threads" in event.text


def test_a_removal_that_fails_is_answered(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.add(paused=True)
    failed: Future[None] = Future()
    failed.set_exception(ValueError("it hangs together"))
    with monkeypatch.context() as patch:
        patch.setattr(LocalWorker, "remove", lambda self, stream: failed)
        remote.do(say.RemoveStream(id=5, stream="cam"))
    message = remote.done()
    assert message.id == 5 and message.error is not None
    assert message.error.code is ErrorCode.INTERNAL
    assert "it hangs together" in message.error.message
    remote.do(say.RemoveStream(id=6, stream="cam"))
    assert remote.done() == say.Done(id=6, next_seq=7)


def test_a_command_that_fails_by_a_bug_is_answered(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: Future[Any] = Future()
    failed.set_exception(ValueError("of /srv/weights"))
    monkeypatch.setattr(LocalWorker, "submit", lambda self, stream, command: failed)
    remote.submit(4, ListCommand())
    answer = remote.done()
    assert answer.id == 4 and answer.error is not None
    assert answer.error.code is ErrorCode.INTERNAL
    assert answer.error.message == "ValueError in the worker"


def test_a_stream_that_cannot_be_moved_away_goes_on(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread closes its source, so that it stays after its save."""
    remote.add(paused=True)
    remote.submit(1, SaveCommand(last=True))
    assert remote.done().error is None

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        remote.do(say.RemoveStream(id=2, stream="cam"))
    answer = remote.done()
    assert answer.id == 2 and answer.error is not None and answer.error.code is ErrorCode.LIMIT
    remote.submit(3, ListCommand())
    assert remote.done().error is None
