"""Recording of messages: the bytes that were sent, in files that open at any moment."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcap.exceptions import EndOfFile, McapError
from mcap.reader import NonSeekingReader, make_reader

from tests.support.supervised import wait_until
from tracker.daemon.messages import RequestError
from tracker.daemon.record import messages
from tracker.daemon.record.messages import MessageRecorder
from tracker.protocol.fields import RecordSettings
from tracker.protocol.recording import NoteTopic, SegmentNote
from tracker.replay.recording import open_recordings


def segment(stem: str) -> bytes:
    note = SegmentNote(
        stem=stem,
        video=f"{stem}.mp4",
        began_ns=1,
        codec="h264",
        time_base=(1, 90000),
        first_dts=0,
        version="1",
        model={},
        settings={},
    )
    return note.model_dump_json().encode()


FIRST, SECOND = "20260101T000000.000Z", "20260101T000100.000Z"


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[MessageRecorder]:
    recorder = MessageRecorder()
    recorder.add("cam", RecordSettings(dir=tmp_path))
    yield recorder
    recorder.stop(30)


def listed(path: Path) -> list[tuple[str, bytes]]:
    """Topics and bytes, as the library's own reader finds them in a file that may be cut short."""
    found = []
    with path.open("rb") as file:
        try:
            for _, channel, message in NonSeekingReader(file).iter_messages(log_time_order=False):
                found.append((channel.topic, message.data))
        except EndOfFile:
            pass
    return found


def test_messages_are_on_the_disk_before_the_file_ends(
    recorder: MessageRecorder, tmp_path: Path
) -> None:
    recorder.sent("other", "masks.other", [b"{}"])  # is not recorded
    recorder.sent("cam", "events.cam", [b'{"seq":0}'])  # waits for the first segment
    recorder.note("cam", NoteTopic.SEGMENT, segment(FIRST))
    recorder.sent("cam", "masks.cam", [b'{"seq":0}', b"\0\1", b""])
    path = tmp_path / "cam" / f"{FIRST}.mcap"
    wait_until(lambda: path.exists() and path.stat().st_size > 0, "flushed")
    copy = tmp_path / "killed.mcap"
    shutil.copy(path, copy)
    topics = [topic for topic, _ in listed(copy)]
    assert topics == ["events.cam", "recorder/segment", "masks.cam"]
    with path.open("rb") as file, pytest.raises(McapError):
        make_reader(file).get_summary()  # it has no footer yet
    (recording,) = open_recordings(tmp_path)
    stored = [(message.topic, message.parts) for message in recording.messages()]
    assert stored[0] == ("events.cam", (b'{"seq":0}',))
    assert stored[2] == ("masks.cam", (b'{"seq":0}', b"\0\1", b""))


def test_each_note_of_a_segment_begins_a_file_and_ends_the_one_before(
    recorder: MessageRecorder, tmp_path: Path
) -> None:
    for stem in (FIRST, SECOND):
        recorder.note("cam", NoteTopic.SEGMENT, segment(stem))
        recorder.sent("cam", "masks.cam", [stem.encode()])
    assert recorder.stop(30)
    status = recorder.status("cam")
    assert status is None  # it is removed
    for stem in (FIRST, SECOND):
        with (tmp_path / "cam" / f"{stem}.mcap").open("rb") as file:
            reader = make_reader(file)
            summary = reader.get_summary()
            assert summary is not None and summary.statistics is not None
            assert summary.statistics.message_count == 2
            assert [m.data for _, c, m in reader.iter_messages() if c.topic == "masks.cam"] == [
                stem.encode()
            ]


@pytest.mark.slow
def test_a_stream_that_is_removed_has_its_last_event(
    recorder: MessageRecorder, tmp_path: Path
) -> None:
    recorder.note("cam", NoteTopic.SEGMENT, segment(FIRST))
    recorder.remove("cam")
    recorder.sent("cam", "events.cam", [b"removed"])
    wait_until(lambda: recorder.status("cam") is None, "closed")
    recorder.sent("cam", "events.cam", [b"too late"])
    assert recorder.stop(30)
    assert listed(tmp_path / "cam" / f"{FIRST}.mcap")[-1] == ("events.cam", b"removed")


def test_a_folder_that_cannot_be_written_stops_the_recording_alone(tmp_path: Path) -> None:
    (tmp_path / "cam").write_text("a file is in the way")
    recorder = MessageRecorder()
    recorder.add("cam", RecordSettings(dir=tmp_path))
    recorder.add("yard", RecordSettings(dir=tmp_path))
    for stream in ("cam", "yard"):
        recorder.note(stream, NoteTopic.SEGMENT, segment(FIRST))
        recorder.sent(stream, f"masks.{stream}", [b"{}"])

    def failed() -> bool:
        status = recorder.status("cam")
        return status is not None and "the messages of stream cam are not" in status.error

    wait_until(failed, "told")
    assert recorder.stop(30)
    assert len(listed(tmp_path / "yard" / f"{FIRST}.mcap")) == 2


def test_a_pre_roll_has_its_messages_however_many_there_are(tmp_path: Path) -> None:
    recorder = MessageRecorder()
    recorder.add("cam", RecordSettings(dir=tmp_path, start="request", pre_roll_s=60))
    for index in range(2000):
        recorder.sent("cam", "masks.cam", [b"%d" % index])
    recorder.note("cam", NoteTopic.SEGMENT, segment(FIRST))
    assert recorder.stop(30)
    assert len(listed(tmp_path / "cam" / f"{FIRST}.mcap")) == 2001


@pytest.mark.slow
def test_messages_without_a_segment_are_bounded_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_FLUSH_EVERY_S", 0.01)
    recorder = MessageRecorder()
    recorder.add("cam", RecordSettings(dir=tmp_path))
    for index in range(100):
        recorder.sent("cam", "masks.cam", [b"%d" % index, bytes(2**20)])
        wait_until(lambda: not recorder._queue, "taken")
    recorder.note("cam", NoteTopic.SEGMENT, segment(FIRST))
    dropped = recorder.status("cam")
    assert recorder.stop(30)
    kept = listed(tmp_path / "cam" / f"{FIRST}.mcap")[:-1]
    assert sum(len(data) for _, data in kept) <= 64 * 2**20 + 2**16
    assert dropped is not None and dropped.dropped_messages == 100 - len(kept) > 0


def test_files_begin_and_end_though_the_disk_is_slow(
    recorder: MessageRecorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_MAX_QUEUED_BYTES", 10)
    recorder.sent("cam", "masks.cam", [bytes(20)])
    recorder.note("cam", NoteTopic.SEGMENT, segment(FIRST))
    assert recorder.stop(30)
    assert [topic for topic, _ in listed(tmp_path / "cam" / f"{FIRST}.mcap")] == [
        "recorder/segment"
    ]


def test_snapshots_take_no_room_from_messages_and_are_dropped_first(
    recorder: MessageRecorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_MAX_QUEUED_BYTES", 2000)
    monkeypatch.setattr(messages, "_MAX_QUEUED_SNAPSHOTS_BYTES", 100)
    write, writes, goes_on = recorder._write, threading.Event(), threading.Event()

    def slowly(name: str, stream: Any, items: Any) -> None:
        writes.set()
        assert goes_on.wait(60)
        write(name, stream, items)

    monkeypatch.setattr(recorder, "_write", slowly)
    assert writes.wait(60)
    recorder.note("cam", NoteTopic.SEGMENT, segment(FIRST))
    for kind in (b"1", b"2"):
        recorder.note("cam", NoteTopic.SNAPSHOTS, kind, bytes(200))
        recorder.sent("cam", "events.cam", [kind * 50])
    goes_on.set()
    assert recorder.stop(30)
    stored = listed(tmp_path / "cam" / f"{FIRST}.mcap")
    assert [topic for topic, _ in stored] == [
        "recorder/segment",
        "recorder/snapshots",
        "events.cam",
        "events.cam",
    ]


def test_no_thread_for_a_recording_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    recorder = MessageRecorder()
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RequestError, match="no more threads"):
        recorder.add("cam", RecordSettings(dir=tmp_path))
    assert recorder.status("cam") is None
