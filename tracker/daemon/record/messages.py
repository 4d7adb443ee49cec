"""Recorder of what the daemon sends of its streams, beside the video that a worker records."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tracker.daemon.messages import RequestError
from tracker.daemon.record.segments import SegmentFile, SegmentFolder
from tracker.daemon.telemetry.status import MessagesRecordingStatus
from tracker.protocol.data import Topic
from tracker.protocol.fields import RecordSettings
from tracker.protocol.recording import NoteTopic, SegmentNote
from tracker.protocol.replies import ErrorCode

if TYPE_CHECKING:
    from tracker.daemon.record.mcap_file import McapSegment

_LOG = logging.getLogger("trackd.record")
_FLUSH_EVERY_S = 0.5
_LAST_S = 1.0  # for the last event of a stream to be sent
_MAX_QUEUED_BYTES = 64 * 2**20
_MAX_QUEUED_SNAPSHOTS_BYTES = 32 * 2**20  # before the newest
_MAX_WAITING_BYTES = 64 * 2**20  # of a stream while it has no segment
_GROUP_S = 10.0  # a video begins with a key frame, so long before the pre-roll


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message or a note on its way into a file.

    Attributes:
        stream: Its name.
        topic: As in the file.
        parts: Of a message, after the topic; of a note, whose first is JSON.
        at_ns: Wall clock.
    """

    stream: str
    topic: str
    parts: tuple[bytes, ...]
    at_ns: int

    @property
    def nbytes(self) -> int:
        """Of all parts."""
        return sum(map(len, self.parts))


@dataclass(slots=True)
class _Stream:
    """A stream that is recorded.

    Attributes:
        waiting: What came while there is no segment; the oldest go where there is too much.
        waiting_bytes: Of that.
        file: The newest segment; None before the first, and after it failed.
        closed_bytes: Of the segments before.
        leaves_s: When it is closed, by `time.monotonic()`; None while it is recorded.
    """

    settings: RecordSettings
    folder: SegmentFolder
    status: MessagesRecordingStatus = field(default_factory=MessagesRecordingStatus)
    waiting: deque[Recorded] = field(default_factory=deque)
    waiting_bytes: int = 0
    file: "McapSegment | None" = None
    closed_bytes: int = 0
    leaves_s: float | None = None


class MessageRecorder:
    """Writes messages into the MCAP files of all streams, in a thread of its own.

    A note of a worker begins each segment; what comes up to the next one goes into its file. Only
    the thread touches files; the other methods never wait but `stop`.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards the queue and the table
        self._queue: deque[Recorded] = deque()
        self._nbytes = 0
        self._snapshots_nbytes = 0
        self._streams: dict[str, _Stream] = {}
        self._removed: list[_Stream] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="record-messages", daemon=True)

    # --- from any thread

    def add(self, stream: str, settings: RecordSettings | None) -> None:
        """Record a stream, where its settings say so; the thread begins with the first.

        Raises:
            RequestError: LIMIT, the system gives no more threads.
        """
        if settings is None:
            return
        with self._changed:
            self._begin_thread()
            if stream in self._streams:
                self._removed.append(self._streams[stream])
            self._streams[stream] = _Stream(settings, SegmentFolder.of(stream, settings))

    def _begin_thread(self) -> None:
        try:
            if self._thread.ident is None:
                self._thread.start()
        except RuntimeError as error:
            text = "the system gives no more threads"
            raise RequestError(ErrorCode.LIMIT, text, "remove streams") from error

    def remove(self, stream: str) -> None:
        """Close the file of a stream, after its last event."""
        with self._changed:
            found = self._streams.get(stream)
            if found is not None:
                found.leaves_s = time.monotonic() + _LAST_S

    def sent(self, stream: str, topic: str, parts: Sequence[bytes]) -> None:
        """Record a message that was sent: the parts after the topic."""
        self._put(Recorded(stream, topic, tuple(parts), time.time_ns()))

    def note(self, stream: str, topic: NoteTopic, *parts: bytes) -> None:
        """Record a note of the worker of a stream."""
        self._put(Recorded(stream, topic, parts, time.time_ns()))

    def status(self, stream: str) -> MessagesRecordingStatus | None:
        """Current status; None where the stream is not recorded."""
        with self._changed:
            found = self._streams.get(stream)
            return None if found is None else replace(found.status)

    def stop(self, timeout_s: float) -> bool:
        """Write what waits and end the files; False where the disk hangs."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put(self, item: Recorded) -> None:
        with self._changed:
            found = self._streams.get(item.stream)
            if found is None:
                return
            if not self._has_room(item):
                found.status.dropped_messages += 1
                return
            self._queue.append(item)

    def _has_room(self, item: Recorded) -> bool:
        """Count what waits; snapshots, which are large, apart from messages."""
        if item.topic == NoteTopic.SNAPSHOTS:
            has_room = self._snapshots_nbytes <= _MAX_QUEUED_SNAPSHOTS_BYTES
            self._snapshots_nbytes += item.nbytes if has_room else 0
            return has_room
        must = item.topic in (NoteTopic.SEGMENT, NoteTopic.END)  # files begin and end with them
        has_room = must or self._nbytes + item.nbytes <= _MAX_QUEUED_BYTES
        self._nbytes += item.nbytes if has_room else 0
        return has_room

    # --- in the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._stopping:
                    self._changed.wait(_FLUSH_EVERY_S)
                stopping = self._stopping
                items, self._queue = self._queue, deque()
                self._nbytes = self._snapshots_nbytes = 0
                streams = dict(self._streams)
                removed = self._take_removed(all_of_them=stopping)
            for name, stream in streams.items():
                self._write(name, stream, [one for one in items if one.stream == name])
            for stream in removed:
                self._close(stream)
            if stopping:
                return

    def _take_removed(self, *, all_of_them: bool) -> list[_Stream]:
        now_s, removed = time.monotonic(), self._removed
        self._removed = []
        for name, stream in list(self._streams.items()):
            if all_of_them or (stream.leaves_s is not None and now_s >= stream.leaves_s):
                removed.append(self._streams.pop(name))
        return removed

    def _write(self, name: str, stream: _Stream, items: list[Recorded]) -> None:
        """Write what came of a stream; where that fails its messages are not recorded any more."""
        if not items:
            return
        try:
            for item in items:
                self._write_one(stream, item)
            if stream.file is not None:
                stream.file.flush()
                stream.status.message_bytes = stream.closed_bytes + stream.file.nbytes
        except OSError as err:
            stream.status.error = f"{err.strerror}: the messages of stream {name} are not recorded"
            _LOG.error("stream %s: messages are not recorded: %s", name, err.strerror)
            if stream.file is not None:
                stream.closed_bytes += stream.file.nbytes
                stream.file.abandon()
                stream.file = None

    def _write_one(self, stream: _Stream, item: Recorded) -> None:
        if item.topic == NoteTopic.SEGMENT:
            self._begin(stream, SegmentNote.model_validate_json(item.parts[0]))
        if stream.file is None:
            self._keep(stream, item)
            return
        self._add(stream, stream.file, item)
        if item.topic == NoteTopic.END:
            self._close(stream)

    def _keep(self, stream: _Stream, item: Recorded) -> None:
        """Keep what may belong to the next segment."""
        if item.nbytes > _MAX_WAITING_BYTES // 2:  # a snapshot, for which much else would go
            stream.status.dropped_messages += 1
            return
        stream.waiting.append(item)
        stream.waiting_bytes += item.nbytes
        waits_for_request = stream.settings.start == "request"
        oldest_ns = item.at_ns - round((stream.settings.pre_roll_s + _GROUP_S) * 1e9)
        while stream.waiting_bytes > _MAX_WAITING_BYTES or (
            waits_for_request and stream.waiting[0].at_ns < oldest_ns
        ):
            stream.waiting_bytes -= stream.waiting.popleft().nbytes
            stream.status.dropped_messages += not waits_for_request

    def _begin(self, stream: _Stream, note: SegmentNote) -> None:
        """Begin a file with what came since its first packet, and the events before."""
        from tracker.daemon.record.mcap_file import McapSegment  # an extra

        self._close(stream)
        path = stream.folder.path / f"{note.stem}.mcap"
        file = SegmentFile(path, lambda: stream.folder.make_room(note.stem))
        stream.file = McapSegment(file)
        stream.status.error = ""
        for item in stream.waiting:
            if item.topic.startswith(Topic.EVENTS) or item.at_ns >= note.began_ns:
                self._add(stream, stream.file, item)
        stream.waiting.clear()
        stream.waiting_bytes = 0

    def _add(self, stream: _Stream, file: "McapSegment", item: Recorded) -> None:
        file.add_message(item.topic, item.parts, item.at_ns)
        stream.status.messages += 1

    def _close(self, stream: _Stream) -> None:
        """End the file of a stream, as well as the disk allows."""
        file, stream.file = stream.file, None
        if file is None:
            return
        try:
            file.close()
        except OSError as err:
            _LOG.error("the end of a recording could not be written: %s", err.strerror)
        stream.closed_bytes += file.nbytes
        stream.status.message_bytes = stream.closed_bytes
