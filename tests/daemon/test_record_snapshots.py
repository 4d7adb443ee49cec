"""Snapshots for a recording: when one is taken, and what is left out."""

from typing import Any

import pytest

from tracker.daemon.record import snapshots
from tracker.daemon.record.snapshots import SnapshotRecorder
from tracker.daemon.telemetry.status import RecordingStatus
from tracker.protocol.recording import EndNote, NoteTopic, SegmentNote, SnapshotNote, TrackerState

NONE = TrackerState(frame=None)


class Noted:
    """A recorder of snapshots, and what it noted."""

    def __init__(self) -> None:
        self.now_s, self.found = 0.0, (NONE, b"session")
        self.after: list[int | None] = []
        self.sessions: list[bytes] = []
        self.recorder = SnapshotRecorder("cam", self._note, clock_s=lambda: self.now_s)
        self.recorder.take = lambda: self.found

    def _note(self, stream: str, topic: NoteTopic, /, *parts: bytes) -> None:
        assert (stream, topic) == ("cam", NoteTopic.SNAPSHOTS)
        self.after.append(SnapshotNote.model_validate_json(parts[0]).after_seq)
        self.sessions.append(parts[1])

    @property
    def left_out(self) -> int:
        return self.recorder.counted(RecordingStatus()).left_out_snapshots

    def begin(self, began_ns: int = 1) -> None:
        fields: dict[str, Any] = {
            "stem": "a",
            "video": "a.mp4",
            "codec": "h264",
            "time_base": (1, 9),
            "first_dts": 0,
            "version": "1",
            "model": {},
            "settings": {},
        }
        self.recorder.noted(SegmentNote(began_ns=began_ns, **fields))


@pytest.fixture
def noted() -> Noted:
    return Noted()


def test_each_segment_has_one_and_a_second_passes_between_two(noted: Noted) -> None:
    noted.recorder.take_if_due(0)
    noted.begin()
    noted.recorder.take_if_due(1)
    noted.recorder.take_if_due(2)
    noted.begin()
    noted.now_s = 0.9
    noted.recorder.take_if_due(3)
    noted.now_s = 1.0
    noted.recorder.take_if_due(4)
    assert (noted.after, noted.sessions) == ([1, 4], [b"session"] * 2)
    status = noted.recorder.counted(RecordingStatus("on", segments=2))
    assert status == RecordingStatus("on", segments=2, snapshots=2, snapshot_bytes=14)


def test_a_restore_has_one_which_a_first_segment_then_holds(noted: Noted) -> None:
    noted.recorder.restored(recording=False)
    noted.recorder.take_if_due(None)
    noted.now_s = 5.0
    noted.recorder.restored(recording=True)
    noted.recorder.take_if_due(None)
    noted.begin()  # its first packet was there before
    noted.now_s = 7.0
    noted.recorder.take_if_due(9)
    assert noted.after == [None]
    noted.recorder.noted(EndNote(reason="off"))
    noted.begin(2**62)
    noted.recorder.take_if_due(10)
    assert noted.after == [None, 10]


def test_objects_that_come_later_have_one_unless_recording_ended(noted: Noted) -> None:
    noted.recorder.take = lambda: None
    noted.begin()
    noted.recorder.take_if_due(1)
    noted.recorder.take = lambda: noted.found
    noted.recorder.take_if_due(2)
    assert noted.after == [2]
    noted.begin()
    noted.recorder.noted(EndNote(reason="off"))
    noted.now_s = 9.0
    noted.recorder.take_if_due(3)
    assert noted.after == [2]


def test_a_fault_is_counted(noted: Noted) -> None:
    def fail() -> None:
        raise MemoryError

    noted.recorder.take = fail
    noted.begin()
    noted.recorder.take_if_due(2)
    assert noted.after == []
    assert noted.left_out == 1


def test_one_that_is_too_large_is_left_out_and_the_next_comes_later(
    noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOT_BYTES", 6)
    for now_s in (0.0, 60.0, 120.0):
        noted.now_s = now_s
        noted.begin()
        noted.recorder.take_if_due(1)
    assert noted.left_out == 1
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOT_BYTES", 7)
    noted.now_s = 600.0
    noted.recorder.take_if_due(2)
    assert noted.after == [2]
