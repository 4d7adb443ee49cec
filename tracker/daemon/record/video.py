"""Recorder of one stream's packets, in the process that decodes them."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto

from streams.errors import WriterError
from streams.packet_tap import StreamTemplate, VideoPacket
from streams.packet_writer import PacketWriter, container_of, suffix_of
from tracker.daemon.messages import Event
from tracker.daemon.record.packet_queue import (
    Came,
    Closed,
    Item,
    Opened,
    PacketQueue,
    Refused,
    Switch,
)
from tracker.daemon.record.pre_roll import PreRoll
from tracker.daemon.record.segments import SegmentFile, SegmentFolder
from tracker.daemon.telemetry.status import RecordingStatus
from tracker.protocol.data import EventName
from tracker.protocol.fields import RecordSettings
from tracker.protocol.recording import EndNote, NoteTopic, SegmentNote

_LOG = logging.getLogger("trackd.record")
_TRIM_EVERY_S = 60.0
_JUMP_S = 10.0  # a farther step of the source's clock begins another segment

OpenFile = Callable[..., SegmentFile]


class _Wanted(Enum):
    OFF = auto()
    ON = auto()
    FAILED = auto()  # until it is switched on again


@dataclass(slots=True)
class _Open:
    """The segment that is being written; its file comes with the first fragment."""

    stem: str
    name: str
    template: StreamTemplate
    writer: PacketWriter
    began_ns: int
    begins_s: float
    file: SegmentFile | None = None


class VideoRecorder:
    """Copies a stream's packets into segments, in a thread of its own; a `PacketTap`.

    Whatever fails here is told, counted and logged: tracking goes on.

    Args:
        stream: Its name.
        settings: Where to, and how much is kept.
        setup: What tracks, for the notes: the fields `model`, `settings` and `version`.
        on_note: Called by the thread when a segment has a file, and when recording ends.
        on_event: Takes events; must not wait.
        open_file: Makes the files.
    """

    def __init__(
        self,
        stream: str,
        settings: RecordSettings,
        *,
        setup: dict[str, object],
        on_note: Callable[[NoteTopic, SegmentNote | EndNote], None],
        on_event: Callable[[Event], None],
        open_file: OpenFile = SegmentFile,
    ) -> None:
        self._stream = stream
        self._settings = settings
        self._setup = setup
        self._on_note = on_note
        self._on_event = on_event
        self._open_file = open_file
        self._folder = SegmentFolder.of(stream, settings)
        self._queue = PacketQueue()
        on = settings.start == "always"
        self._wanted = _Wanted.ON if on else _Wanted.OFF
        self._status = RecordingStatus("waiting" if on else "off")
        self._template: StreamTemplate | None = None
        self._segment: _Open | None = None
        self._newest_s: float | None = None  # on the source's clock
        self._pre_roll = PreRoll(settings.pre_roll_s)
        self._trimmed_s = 0.0
        self._thread = threading.Thread(target=self._run, name=f"record-{stream}", daemon=True)

    # --- from any thread; nothing waits but `close`

    def start(self) -> None:
        """Begin to write; raises RuntimeError where the system gives no more threads."""
        self._thread.start()

    def opened(self, template: StreamTemplate) -> bool:
        """See `PacketTap`."""
        try:
            container_of(template.codec)
        except WriterError as err:
            self.refused(str(err))
            return False
        self._queue.put(Opened(template))
        return True

    def packet(self, template: StreamTemplate, packet: VideoPacket) -> None:
        """See `PacketTap`."""
        self._queue.put(Came(template, packet, time.time_ns()))

    def refused(self, reason: str) -> None:
        """See `PacketTap`."""
        self._queue.put(Refused(reason))

    def closed(self, template: StreamTemplate) -> None:
        """See `PacketTap`."""
        self._queue.put(Closed(template))

    def switch(self, *, on: bool) -> None:
        """Record from now on, or stop; a recording that failed is tried again."""
        self._queue.put(Switch(on))

    def status(self) -> RecordingStatus:
        """Current status."""
        return replace(self._status, dropped_packets=self._queue.dropped)

    def close(self, timeout_s: float) -> bool:
        """Write what waits and end; False where the disk hangs."""
        self._queue.end()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- in the thread

    def _run(self) -> None:
        while not self._queue.is_over:
            item = self._queue.take(_TRIM_EVERY_S)
            try:
                if item is not None:
                    self._take_in(item)
                self._trim()
            except (OSError, WriterError) as err:
                self._fail(err)
            except Exception as err:  # tracking goes on, whatever it is
                _LOG.exception("stream %s: recording failed", self._stream)
                self._fail(err)
        self._end_safely()

    def _take_in(self, item: Item) -> None:
        match item:
            case Opened():
                self._end_segment()
                self._template = item.template
                self._newest_s = None
                self._pre_roll.take()
            case Closed():
                if item.template is self._template or self._template is None:
                    self._end_segment()
                    self._template = None
            case Refused():
                raise WriterError(item.reason)
            case Switch():
                self._switch(on=item.on)
            case Came():
                self._packet(item)

    def _packet(self, came: Came) -> None:
        if self._template is None:  # what was opened later is closed already
            self._template = came.template
        if came.template is not self._template:
            return
        if self._wanted is _Wanted.ON:
            self._write(came)
        else:
            self._pre_roll.keep(came)

    def _write(self, came: Came) -> None:
        packet = came.packet
        at_s = float(packet.pts * packet.time_base)
        jumped = self._newest_s is not None and abs(at_s - self._newest_s) > _JUMP_S
        self._newest_s = at_s
        if jumped:
            self._end_segment()
        segment = self._segment
        if packet.is_key and (
            segment is None or at_s - segment.begins_s >= self._settings.segment_s
        ):
            self._end_segment()
            self._segment = segment = self._begin(came, at_s)
        if segment is not None:
            segment.writer.mux(packet)

    def _begin(self, came: Came, at_s: float) -> _Open:
        stem = self._folder.new_stem(came.at_ns)
        name = stem + suffix_of(came.template.codec)
        writer = PacketWriter(came.template, came.packet, self._append)
        if self._status.segments == 0 and self._settings.start == "always":
            self._tell(EventName.RECORD_STARTED, str(self._folder.path))
        return _Open(stem, name, came.template, writer, came.at_ns, at_s)

    def _append(self, data: bytes) -> None:
        """Write a fragment; the file is made for the first."""
        segment = self._segment
        assert segment is not None
        if segment.file is None:
            path, stem = self._folder.path / segment.name, segment.stem
            segment.file = self._open_file(path, lambda: self._folder.make_room(stem))
            segment.file.append(data)
            self._status.segments += 1
            self._on_note(NoteTopic.SEGMENT, self._note(segment))
        else:
            segment.file.append(data)
        self._status.state, self._status.error = "on", ""
        self._status.video_bytes += len(data)

    def _note(self, segment: _Open) -> SegmentNote:
        writer = segment.writer
        return SegmentNote.model_validate(
            {
                "stem": segment.stem,
                "video": segment.name,
                "began_ns": segment.began_ns,
                "codec": segment.template.codec,
                "time_base": (writer.time_base.numerator, writer.time_base.denominator),
                "first_dts": writer.first_dts,
                **self._setup,
            }
        )

    def _end_segment(self) -> None:
        segment = self._segment
        if segment is None:
            return
        try:
            if segment.writer.has_begun:
                segment.writer.close()
        finally:
            self._segment = None
            if segment.file is not None:
                segment.file.close()

    def _end_safely(self) -> None:
        try:
            self._end_segment()
        except (OSError, WriterError) as err:
            self._fail(err)

    def _switch(self, *, on: bool) -> None:
        if on == (self._wanted is _Wanted.ON):
            return
        self._wanted = _Wanted.ON if on else _Wanted.OFF
        self._status.error = ""
        if not on:
            self._end_segment()
            self._status.state = "off"
            self._stop(EventName.RECORD_STOPPED, "it was asked for")
            return
        self._status.state = "waiting"
        self._tell(EventName.RECORD_STARTED, str(self._folder.path))
        for came in self._pre_roll.take():
            self._write(came)

    def _trim(self) -> None:
        """Remove what is too old or too much, now and then, and where a segment began."""
        now_s = time.monotonic()
        segment = self._segment
        if now_s - self._trimmed_s < min(_TRIM_EVERY_S, self._settings.segment_s):
            return
        self._trimmed_s = now_s
        self._status.removed_segments += self._folder.trim(
            None if segment is None else segment.stem
        )

    def _fail(self, error: Exception) -> None:
        """Give the segment up, and say why; tracking goes on.

        What the disk refuses ends the recording. What the container refuses, the next key frame may
        mend.
        """
        segment, self._segment = self._segment, None
        if segment is not None and segment.file is not None:
            segment.file.close()
        self._status.failures += 1
        if not isinstance(error, WriterError):
            self._wanted = _Wanted.FAILED
        reason = _one_line(error)
        if reason == self._status.error:
            return
        self._status.state, self._status.error = "failed", reason
        _LOG.error("stream %s: not recorded: %s", self._stream, reason)
        self._stop(EventName.RECORD_FAILED, reason)

    def _stop(self, name: EventName, reason: str) -> None:
        self._on_note(NoteTopic.END, EndNote(reason=reason))
        self._tell(name, reason)

    def _tell(self, name: EventName, text: str) -> None:
        self._on_event(Event(self._stream, name, time.time_ns(), text=text))


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}"
    return " ".join(str(error).split()) or type(error).__name__
