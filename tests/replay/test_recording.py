"""Reading recordings, and sending them again."""

import threading
from pathlib import Path

import pytest
import zmq

from tests.daemon.test_record_messages import FIRST, SECOND, segment
from tracker.daemon.record.messages import MessageRecorder
from tracker.errors import TrackdError, UsageError
from tracker.protocol.fields import RecordSettings
from tracker.protocol.recording import NoteTopic
from tracker.replay.publish import ReplaySocket, replay
from tracker.replay.recording import open_recordings


def record(folder: Path, sent: list[tuple[str, list[bytes]]]) -> None:
    """Messages of two streams, in two segments of each."""
    recorder = MessageRecorder()
    for stream in ("cam", "yard"):
        recorder.add(stream, RecordSettings(dir=folder))
    half = len(sent) // 2
    for stem, some in ((FIRST, sent[:half]), (SECOND, sent[half:])):
        for stream in ("cam", "yard"):
            recorder.note(stream, NoteTopic.SEGMENT, segment(stem))
        for topic, parts in some:
            recorder.sent(topic.partition(".")[2], topic, parts)
    assert recorder.stop(30)


SENT = [
    (
        f"{kind}.{stream}",
        [f"{index} {kind} {stream}".encode(), bytes([index]), b""][: 1 + index % 3],
    )
    for index in range(60)
    for kind in ("masks", "events")
    for stream in ("cam", "yard")
]


@pytest.mark.slow
def test_a_replay_sends_the_same_bytes_in_the_same_order(tmp_path: Path) -> None:
    record(tmp_path, SENT)
    with (
        ReplaySocket("tcp://127.0.0.1:*") as socket,
        zmq.Context() as context,
        context.socket(zmq.SUB) as subscriber,
    ):
        subscriber.rcvtimeo = 60_000
        subscriber.connect(socket.endpoint)
        subscriber.subscribe("")
        assert socket.wait_for_subscriber(lambda: False)
        thread = threading.Thread(
            target=replay, args=(open_recordings(tmp_path), socket), kwargs={"speed": None}
        )
        thread.start()
        received = [subscriber.recv_multipart() for _ in SENT]
        thread.join(60)
        assert not subscriber.poll(100)
    assert received == [[topic.encode(), *parts] for topic, parts in SENT]


def test_one_stream_can_be_chosen_and_a_replay_stopped(tmp_path: Path) -> None:
    record(tmp_path, SENT)
    (yard,) = open_recordings(tmp_path, "yard")
    assert yard.stream == "yard"
    (same,) = open_recordings(tmp_path / "yard")
    assert [one.stem for one in same.segments] == [FIRST, SECOND]
    with ReplaySocket(f"ipc://{tmp_path}/replay") as socket:
        assert not socket.wait_for_subscriber(lambda: True)
        stops = iter([False, False, False, True])
        sent = replay([yard], socket, speed=None, stop_asked=stops.__next__)
    assert (sent.stopped_early, sent.messages) == (True, 3)


def test_what_is_no_recording_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^no recording in .*; give the folder of record.dir"):
        open_recordings(tmp_path)
    with pytest.raises(UsageError, match=r"^cannot read .*: No such file"):
        open_recordings(tmp_path / "nowhere")
    record(tmp_path, SENT)
    with pytest.raises(UsageError, match=r"no recording of door in .*; there are cam, yard"):
        open_recordings(tmp_path, "door")
    with pytest.raises(UsageError, match=r"on this machine only, not on tcp://0.0.0.0:5571"):
        ReplaySocket("tcp://0.0.0.0:5571")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    record(tmp_path, SENT)
    path = tmp_path / "cam" / f"{FIRST}.mcap"
    path.write_bytes(b"no MCAP at all")
    (recording,) = open_recordings(tmp_path, "cam")
    with pytest.raises(TrackdError, match=f"{FIRST}.mcap cannot be read.*; leave its segment out"):
        list(recording.messages())
    path = tmp_path / "cam" / f"{SECOND}.mcap"
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
    path.write_bytes(data)
    (tmp_path / "cam" / f"{FIRST}.mcap").unlink()
    (recording,) = open_recordings(tmp_path, "cam")
    with pytest.raises(TrackdError, match=f"{SECOND}.mcap cannot be read"):
        list(recording.messages())


def test_a_file_that_was_cut_short_is_read_up_to_there(tmp_path: Path) -> None:
    record(tmp_path, SENT)
    path = tmp_path / "cam" / f"{SECOND}.mcap"
    (recording,) = open_recordings(tmp_path, "cam")
    whole = list(recording.messages())
    data = path.read_bytes()
    for length in (0, 8, 100, len(data) // 2, len(data) - 20):
        path.write_bytes(data[:length])
        left = list(recording.messages())
        assert left == whole[: len(left)]
        assert len(left) >= len(SENT) // 4
    assert left == whole  # without the end of the footer
