"""Publish queue: bounded for each stream, the oldest goes, events come first."""

import threading
from collections import deque
from dataclasses import dataclass, field, replace

from tracker.daemon.messages import Event, Tracked
from tracker.daemon.publish.encoder import EncodedFrame

MAX_EVENTS = 256  # of one stream, waiting


@dataclass(frozen=True, slots=True)
class Forget:
    """From here on the stream is unknown; if it comes again it is a new one."""

    stream: str


@dataclass(slots=True)
class _StreamQueue:
    """Queue of what waits of one stream.

    Attributes:
        notes: Events, and where the stream was forgotten among them.
        frames: Tracked since it was last forgotten.
        forget_first: Where it was forgotten fell out of `notes`.
    """

    notes: deque[Event | Forget] = field(default_factory=deque)
    frames: deque[Tracked | EncodedFrame] = field(default_factory=deque)
    forget_first: bool = False

    @property
    def has_notes(self) -> bool:
        return self.forget_first or bool(self.notes)


class PublishQueue:
    """Queue from the threads that have something to publish to the one that sends. Never blocks.

    Streams take turns. A stream's events leave in order and before its frames; every event of
    every stream leaves before any frame does.

    Attributes:
        dropped_frames: Frames that made room for newer ones; only grows.
        dropped_events: Likewise for events.
    """

    def __init__(self, *, frames_per_stream: int) -> None:
        self._frames_per_stream = frames_per_stream
        self._lock = threading.Lock()
        self._queues: dict[str, _StreamQueue] = {}  # in the order of their turns
        self.dropped_frames = 0
        self.dropped_events = 0

    def put_tracked(self, tracked: Tracked | EncodedFrame) -> None:
        """Add a frame. A frame dropped for it is counted in `dropped` of the one that follows."""
        with self._lock:
            frames = self._queue_of(tracked.stream).frames
            frames.append(tracked)
            if len(frames) > self._frames_per_stream:
                oldest = frames.popleft()
                frames[0] = replace(frames[0], dropped=frames[0].dropped + oldest.dropped + 1)
                self.dropped_frames += 1

    def put_event(self, event: Event) -> None:
        """Add an event."""
        with self._lock:
            self._note(event.stream, event)

    def put_forget(self, stream: str) -> None:
        """Drop the waiting frames of a stream; its events stay, the end of it follows them."""
        with self._lock:
            self._queue_of(stream).frames.clear()
            self._note(stream, Forget(stream))

    def _note(self, stream: str, note: Event | Forget) -> None:
        queue = self._queue_of(stream)
        queue.notes.append(note)
        if len(queue.notes) > MAX_EVENTS:
            if isinstance(queue.notes.popleft(), Forget):
                queue.forget_first = True
            else:
                self.dropped_events += 1

    def _queue_of(self, stream: str) -> _StreamQueue:
        return self._queues.setdefault(stream, _StreamQueue())

    def take(self) -> Tracked | EncodedFrame | Event | Forget | None:
        """Take what is to be sent next; None where nothing waits."""
        with self._lock:
            stream = next((name for name, queue in self._queues.items() if queue.has_notes), None)
            if stream is None:
                stream = next(iter(self._queues), None)
            if stream is None:
                return None
            queue = self._queues.pop(stream)
            item = _next_of(stream, queue)
            if queue.has_notes or queue.frames:
                self._queues[stream] = queue
            return item

    def __len__(self) -> int:
        """Frames and events that wait."""
        with self._lock:
            return sum(len(queue.notes) + len(queue.frames) for queue in self._queues.values())


def _next_of(stream: str, queue: _StreamQueue) -> Tracked | EncodedFrame | Event | Forget:
    if queue.forget_first:
        queue.forget_first = False
        return Forget(stream)
    return queue.notes.popleft() if queue.notes else queue.frames.popleft()
