"""Epochs of owners: the newer owner of a stream stays, and all that is sent says whose it is."""

from functools import partial
from pathlib import Path

import pytest

from tests.support.kept_streams import KEPT, keep, tracking
from tests.support.operations import Daemon, code
from tests.support.tracked_frames import event, publishing, subscriber, tracked, wait_until
from tracker.daemon.state.state_file import read_state
from tracker.protocol.data import EventMessage, FrameMessage, MasksMessage
from tracker.protocol.replies import ErrorCode


def listed(daemon: Daemon) -> list[int]:
    return [one["owner_epoch"] for one in daemon.ask("stream.list")["streams"]]


def test_an_owner_of_before_neither_adds_nor_removes_a_stream() -> None:
    daemon = Daemon()
    daemon.add(owner_epoch=5)
    assert listed(daemon) == [5]
    assert code(lambda: daemon.add(owner_epoch=4)) is ErrorCode.OLD_OWNER
    assert code(lambda: daemon.add(owner_epoch=5)) is ErrorCode.STREAM_EXISTS
    assert code(lambda: daemon.add(owner_epoch=6)) is ErrorCode.STREAM_EXISTS
    for older in (4, 5):
        removal = partial(daemon.ask, "stream.remove", stream="cam1", owner_epoch=older)
        assert code(removal) is ErrorCode.OLD_OWNER
    assert listed(daemon) == [5], "it is the newest owner, and stays"
    daemon.ask("stream.remove", stream="cam1", owner_epoch=6)
    assert listed(daemon) == []


def test_without_an_epoch_streams_come_and_go_as_ever() -> None:
    daemon = Daemon()
    daemon.add()
    assert listed(daemon) == [0]
    daemon.ask("stream.remove", stream="cam1")
    assert listed(daemon) == []


def test_a_restart_finds_the_epoch(tmp_path: Path) -> None:
    daemon = Daemon()
    daemon.add("cam", owner_epoch=7)
    assert daemon.streams.kept()["cam"].owner_epoch == 7
    store = keep(tmp_path)
    with tracking("cam") as tracker:
        store.save_streams(daemon.streams.kept(), tracker)  # type: ignore[arg-type]
    store.close()
    saved = read_state(tmp_path / "streams.json")
    assert saved is not None and saved.streams["cam"].owner_epoch == 7
    assert KEPT.owner_epoch == 0


@pytest.mark.parametrize("encoding", ["rle", "bits"])
def test_every_message_of_a_stream_has_its_owners_epoch(encoding: str) -> None:
    with publishing() as publisher, subscriber(publisher.endpoint, "") as socket:
        socket.subscribe(b"frames.cam1")
        assert publisher.latest_endpoint is not None
        with subscriber(publisher.latest_endpoint, "masks.cam1 ") as latest:
            wait_until(lambda: publisher.status().subscriptions == 3)
            publisher.own("cam1", 3)
            publisher.event(event())
            publisher.tracked(tracked(0, encoding=encoding))
            said = [socket.recv_multipart()[1] for _ in range(3)]
            _, _, one_part = latest.recv().partition(b" ")
        kinds = (EventMessage, MasksMessage, FrameMessage)
        read = [kind.model_validate_json(text) for kind, text in zip(kinds, said, strict=True)]
        assert [message.owner_epoch for message in read] == [3, 3, 3]
        assert MasksMessage.model_validate_json(one_part).owner_epoch == 3
        publisher.forget("cam1")
        publisher.tracked(tracked(1))
        socket.unsubscribe(b"frames.cam1")
        assert MasksMessage.model_validate_json(socket.recv_multipart()[1]).owner_epoch == 0
