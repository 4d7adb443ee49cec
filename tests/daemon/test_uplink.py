"""Way from a worker to the daemon: notes whole and in order, and no more than there is room for."""

import socket
from collections.abc import Iterator

import pytest

from tracker.daemon.publish.encoder import FrameEncoder
from tracker.daemon.workers import messages as say
from tracker.daemon.workers import uplink
from tracker.daemon.workers.channel import Channel
from tracker.daemon.workers.uplink import Uplink
from tracker.protocol.recording import NoteTopic

PATIENCE_S = 60.0


@pytest.fixture
def ends() -> Iterator[tuple[Uplink, Channel]]:
    """An uplink that was not started, and the daemon's end of its channel."""
    ours, theirs = socket.socketpair()
    channel, other = Channel(ours), Channel(theirs)
    encoder = FrameEncoder(latest=False)
    yield Uplink(channel, encoder, frames_per_stream=2, report=lambda stream: []), other
    channel.close()
    other.close()


def test_notes_arrive_with_all_their_parts_and_in_order(ends: tuple[Uplink, Channel]) -> None:
    uplink, daemon = ends
    session = bytes(range(256)) * 10_000
    uplink.note("cam", NoteTopic.FRAMES, b"{}")
    uplink.note("cam", NoteTopic.SNAPSHOTS, b'{"after_seq":3}', session)
    uplink.start()
    for topic, expected in [
        (NoteTopic.FRAMES, [b"{}"]),
        (NoteTopic.SNAPSHOTS, [b'{"after_seq":3}', session]),
    ]:
        parts = daemon.receive(PATIENCE_S)
        assert parts is not None
        assert say.from_worker(parts) == say.Noted(stream="cam", topic=topic)
        assert parts[1:] == expected


def test_a_snapshot_is_dropped_where_those_before_it_wait(
    ends: tuple[Uplink, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    way, daemon = ends
    monkeypatch.setattr(uplink, "_MAX_NOTE_BYTES", 1000)
    for number in range(3):
        way.note("cam", NoteTopic.SNAPSHOTS, b"%d" % number, bytes(800))
    way.note("cam", NoteTopic.FRAMES, b"3")
    assert way.dropped_notes == 1
    way.start()
    arrived = [daemon.receive(PATIENCE_S) for _ in range(3)]
    assert [parts and parts[1] for parts in arrived] == [b"0", b"1", b"3"]
