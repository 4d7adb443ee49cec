"""Way from a worker process to the daemon: replies and events first, then frames, encoded."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tracker.daemon.messages import Event, RequestError, Tracked
from tracker.daemon.publish.encoder import EncodedFrame, FrameEncoder
from tracker.daemon.publish.queue import Forget, PublishQueue
from tracker.daemon.workers.channel import Channel, ChannelError
from tracker.daemon.workers.messages import Noted, pack_event, pack_frame, packed
from tracker.protocol.data import Topic
from tracker.protocol.recording import NoteTopic

_LOG = logging.getLogger("trackd.worker")
_MAX_NOTES = 4096
_MAX_NOTE_BYTES = 32 * 2**20  # before the newest snapshot


@dataclass(frozen=True, slots=True)
class _Reply:
    """A message, and the stream whose status is sent before it; None for none."""

    parts: list[bytes]
    stream: str | None


class Uplink:
    """Encodes and sends, in a thread of its own; nobody else waits for the daemon.

    Of frames and events the oldest go where the daemon is behind, as in any `PublishQueue`;
    replies are as few as commands may wait.

    Args:
        channel: To the daemon.
        encoder: Encodes frames; it belongs to the thread.
        frames_per_stream: Frames of a stream that wait.
        report: Makes the message with the status of a stream.

    Attributes:
        failed: Frames that could not be encoded; only grows.
        dropped_notes: Notes for recordings that made room for newer ones; likewise.
    """

    def __init__(
        self,
        channel: Channel,
        encoder: FrameEncoder,
        *,
        frames_per_stream: int,
        report: Callable[[str], list[bytes]],
    ) -> None:
        self.failed = 0
        self.dropped_notes = 0
        self._channel = channel
        self._encoder = encoder
        self._report = report
        self._queue = PublishQueue(frames_per_stream=frames_per_stream)
        self._replies: deque[_Reply] = deque()
        self._notes: deque[list[bytes]] = deque()
        self._previews: dict[str, frozenset[Topic]] = {}
        self._farewells: dict[str, list[bytes]] = {}
        self._work = threading.Event()
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    @property
    def dropped_frames(self) -> int:
        """Frames that made room for newer ones."""
        return self._queue.dropped_frames

    def tracked(self, tracked: Tracked) -> None:
        """Send a frame's masks, and the previews that are wanted and due."""
        self._queue.put_tracked(tracked)
        self._work.set()

    def event(self, event: Event) -> None:
        """Send an event, after the status of its stream."""
        self._queue.put_event(event)
        self._work.set()

    def note(self, stream: str, topic: NoteTopic, *parts: bytes) -> None:
        """Send a note for the recording of a stream; where too many wait, the oldest goes.

        Snapshots are large: one is dropped where those before it still wait.
        """
        if topic is NoteTopic.SNAPSHOTS and self._note_bytes() > _MAX_NOTE_BYTES:
            self.dropped_notes += 1
            return
        self._notes.append(packed(Noted(stream=stream, topic=topic), *parts))
        if len(self._notes) > _MAX_NOTES:
            self._notes.popleft()
            self.dropped_notes += 1
        self._work.set()

    def _note_bytes(self) -> int:
        """Bytes of the notes that wait."""
        return sum(len(part) for note in list(self._notes) for part in note)

    def reply(self, parts: list[bytes], stream: str | None = None) -> None:
        """Send a message, after the status of a stream."""
        self._replies.append(_Reply(parts, stream))
        self._work.set()

    def want(self, stream: str, topics: frozenset[Topic]) -> None:
        """Make these previews of a stream from now on."""
        self._previews[stream] = topics

    def forget(self, stream: str, *, farewell: list[bytes]) -> None:
        """Send no more frames of a removed stream, and a last message after its events."""
        self._previews.pop(stream, None)
        self._farewells[stream] = farewell
        self._queue.put_forget(stream)
        self._work.set()

    def _run(self) -> None:
        try:
            while True:
                self._work.wait()
                self._work.clear()  # before looking, so that what comes meanwhile wakes it again
                while self._send_next():
                    pass
        except ChannelError:
            pass  # the daemon is gone; whoever receives ends the process

    def _send_next(self) -> bool:
        if self._replies:
            reply = self._replies.popleft()
            if reply.stream is not None:
                self._send_report(reply.stream)
            self._channel.send(reply.parts)
            return True
        if self._notes:
            self._channel.send(self._notes.popleft())
            return True
        match self._queue.take():
            case None:
                return False
            case Event() as event:
                self._send_report(event.stream)
                self._channel.send(pack_event(event))
            case Tracked() as tracked:
                self._send_frame(tracked)
            case Forget() as forgotten:
                self._encoder.forget(forgotten.stream)
                self._channel.send(self._farewells.pop(forgotten.stream))
            case EncodedFrame() as frame:
                self._channel.send(pack_frame(frame))
        return True

    def _send_report(self, stream: str) -> None:
        try:
            report = self._report(stream)
        except RequestError:
            return  # it is gone, or not there yet
        self._channel.send(report)

    def _send_frame(self, tracked: Tracked) -> None:
        wanted = self._previews.get(tracked.stream, frozenset())
        try:
            parts = pack_frame(self._encoder.encode(tracked, wanted))
        except Exception:  # one frame must not end the streams of all others
            self.failed += 1
            _LOG.exception("stream %s: a frame could not be encoded", tracked.stream)
        else:
            self._channel.send(parts)
