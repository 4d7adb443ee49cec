"""Snapshots for a recording: when one is taken, and what is left out."""

from typing import Any

import pytest

from tracker.daemon.record import snapshots
from tracker.daemon.record.snapshots import SnapshotRecorder
from tracker.protocol.recording import EndNote, NoteTopic, SegmentNote, SnapshotNote, TrackerState

NONE = TrackerState(frame=None)


class Noted:
    """A recorder of snapshots, and what it noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.found = 0.0, (NONE, b"session")
        self.after: list[int | None] = []
        self.sessions: list[bytes] = []
        monkeypatch.setattr(snapshots.time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(snapshots.time, "time_ns", lambda: round(self.now_s * 1e9))
        self.recorder = SnapshotRecorder("cam", self._note)
        self.recorder.take = lambda: self.found

    def _note(self, stream: str, topic: NoteTopic, /, *parts: bytes) -> None:
        assert (stream, topic) == ("cam", NoteTopic.SNAPSHOTS)
        self.after.append(SnapshotNote.model_validate_json(parts[0]).after_seq)
        self.sessions.append(parts[1])

    def begin(self, began_s: float) -> None:
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
        self.recorder.noted(SegmentNote(began_ns=round(began_s * 1e9), **fields))


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    return Noted(monkeypatch)


def test_each_segment_has_one_and_a_second_passes_between_two(noted: Noted) -> None:
    noted.recorder.take_if_due(0)
    noted.begin(1)
    noted.recorder.take_if_due(1)
    noted.recorder.take_if_due(2)
    noted.begin(0.5)
    noted.now_s = 0.9
    noted.recorder.take_if_due(3)
    noted.now_s = 1.0
    noted.recorder.take_if_due(4)
    assert (noted.after, noted.sessions) == ([1, 4], [b"session"] * 2)
    assert noted.recorder.counts == {
        "snapshots": 2,
        "snapshot_bytes": 14,
        "left_out_snapshots": 0,
    }


def test_a_restore_has_one_which_a_first_segment_then_holds(noted: Noted) -> None:
    noted.recorder.restored(recording=False)
    noted.recorder.take_if_due(None)
    noted.now_s = 5.0
    noted.recorder.restored(recording=True)
    noted.recorder.take_if_due(None)
    noted.begin(4.5)  # its first packet was there before
    noted.now_s = 7.0
    noted.recorder.take_if_due(9)
    assert noted.after == [None]
    noted.recorder.noted(EndNote(reason="off"))
    noted.begin(6.5)
    noted.recorder.take_if_due(10)
    assert noted.after == [None, 10]


def test_objects_that_come_later_have_one_unless_recording_ended(noted: Noted) -> None:
    noted.recorder.take = lambda: None
    noted.begin(1)
    noted.recorder.take_if_due(1)
    noted.recorder.take = lambda: noted.found
    noted.recorder.take_if_due(2)
    assert noted.after == [2]
    noted.begin(2)
    noted.recorder.noted(EndNote(reason="off"))
    noted.now_s = 9.0
    noted.recorder.take_if_due(3)
    assert noted.after == [2]


def test_a_fault_is_counted(noted: Noted) -> None:

    def fail() -> None:
        raise MemoryError

    noted.recorder.take = fail
    noted.begin(2)
    noted.recorder.take_if_due(2)
    assert noted.after == []
    assert noted.recorder.counts["left_out_snapshots"] == 1


def test_one_that_is_too_large_is_left_out_and_the_next_comes_later(
    noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOT_BYTES", 6)
    for now_s in (0.0, 60.0, 120.0):
        noted.now_s = now_s
        noted.begin(now_s + 1)
        noted.recorder.take_if_due(1)
    assert noted.recorder.counts["left_out_snapshots"] == 1
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOT_BYTES", 7)
    noted.now_s = 600.0
    noted.recorder.take_if_due(2)
    assert noted.after == [2]
