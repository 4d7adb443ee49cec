"""Event queue of a sink: bounded in events and bytes, the oldest goes. Putting never waits."""

import threading
from collections import deque
from dataclasses import dataclass

from tracker.protocol.data import EventMessage


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event on its way out, and the JSON that is sent of it."""

    message: EventMessage
    body: bytes


class EventQueue:
    """Queue of what a sink has not begun to send.

    Args:
        max_events: Events that wait.
        max_bytes: Bytes of their JSON, together.

    Attributes:
        dropped: Events that made room for newer ones; only grows.
        bytes: Bytes that wait.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: deque[QueuedEvent] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0
        self.bytes = 0

    def put(self, event: QueuedEvent) -> None:
        """Add an event."""
        with self._changed:
            self._events.append(event)
            self.bytes += len(event.body)
            while len(self._events) > self._max_events or self.bytes > self._max_bytes:
                self.bytes -= len(self._events.popleft().body)
                self.dropped += 1
            self._changed.notify()

    def take(self) -> QueuedEvent | None:
        """Take the oldest event, if there is one."""
        with self._changed:
            if not self._events:
                return None
            event = self._events.popleft()
            self.bytes -= len(event.body)
            return event

    def wait(self) -> bool:
        """Wait for an event; False once it is closed and empty."""
        with self._changed:
            while not self._events and not self._closed:
                self._changed.wait()
            return bool(self._events)

    def close(self) -> None:
        """Wait for no more events."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        """Events that wait."""
        return len(self._events)
