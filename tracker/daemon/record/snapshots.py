"""Snapshots of a stream's tracker in its recording, from which it can be tracked again."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from tracker.daemon.telemetry.status import RecordingStatus
from tracker.protocol.recording import EndNote, NoteTopic, SegmentNote, SnapshotNote, TrackerState

_LOG = logging.getLogger("trackd.record")
MAX_SNAPSHOT_BYTES = 128 * 2**20
_SPACING_S = 1.0
_SPACING_TOO_LARGE_S = 600.0

TakeSnapshot = Callable[[], "tuple[TrackerState, bytes] | None"]


class OnNote(Protocol):
    """Takes a note for the MCAP file of a stream; must not wait."""

    def __call__(self, stream: str, topic: NoteTopic, /, *parts: bytes) -> None:
        """Take the parts of a note, the first of which is JSON."""


class SnapshotRecorder:
    """Notes a snapshot of one stream in each segment, and after objects were put back.

    It is taken once the segment has a file, or has objects, where they come later.

    A second passes between two of them, ten minutes after one that is too large. What the thread
    that tracks spends is the taking alone: the file's own thread compresses.

    Args:
        stream: Its name.
        on_note: Takes the notes.

    Attributes:
        take: Takes a snapshot; None while nobody tracks.
    """

    def __init__(
        self, stream: str, on_note: OnNote, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.take: TakeSnapshot | None = None
        self._stream = stream
        self._on_note = on_note
        self._clock_s = clock_s
        self._is_due = False
        self._has_file = False
        self._next_s = -math.inf
        self._taken_ns = 0
        self._noted = 0
        self._bytes = 0
        self._left_out = 0

    def counted(self, status: RecordingStatus) -> RecordingStatus:
        """The status of the recording with its counters."""
        return replace(
            status,
            snapshots=self._noted,
            snapshot_bytes=self._bytes,
            left_out_snapshots=self._left_out,
        )

    def noted(self, note: SegmentNote | EndNote) -> None:
        """Take note of a segment that begins, or of the end of the recording; from any thread.

        A first file has what was noted since its first packet, one that follows has not.
        """
        if isinstance(note, EndNote):
            self._is_due = False
        elif self._has_file or self._taken_ns < note.began_ns:
            self._is_due = True
        self._has_file = isinstance(note, SegmentNote)

    # --- in the thread that tracks

    def restored(self, *, recording: bool) -> None:
        """Take note that objects were put back, from what no recording holds."""
        self._is_due = self._is_due or recording

    def take_if_due(self, after_seq: int | None) -> None:
        """Note a snapshot of the objects, if any, after the newest frame, where one is due."""
        if not self._is_due or self.take is None or self._clock_s() < self._next_s:
            return
        try:
            taken = self.take()
        except Exception:  # tracking goes on, whatever it is
            self._is_due = False
            self._left_out += 1
            _LOG.exception("stream %s: no snapshot could be taken for its recording", self._stream)
            return
        if taken is not None:
            self._is_due = False
            self._note(*taken, after_seq)

    def _note(self, state: TrackerState, session: bytes, after_seq: int | None) -> None:
        too_large = len(session) > MAX_SNAPSHOT_BYTES
        self._next_s = self._clock_s() + (_SPACING_TOO_LARGE_S if too_large else _SPACING_S)
        if too_large:
            self._left_out += 1
            _LOG.warning(
                "stream %s: a snapshot of %d MiB is too large for its recording",
                self._stream,
                len(session) >> 20,
            )
            return
        self._taken_ns = time.time_ns()
        note = SnapshotNote(at_ns=self._taken_ns, after_seq=after_seq, state=state)
        self._noted += 1
        self._bytes += len(session)
        text = note.model_dump_json().encode()
        self._on_note(self._stream, NoteTopic.SNAPSHOTS, text, session)
