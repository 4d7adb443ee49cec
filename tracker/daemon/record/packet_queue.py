"""Queue of packets between the thread that reads a source and the one that writes them."""

import threading
from collections import deque
from dataclasses import dataclass

from streams.packet_tap import StreamTemplate, VideoPacket

MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Opened:
    """Packets of this opening of the source follow."""

    template: StreamTemplate


@dataclass(frozen=True, slots=True)
class Closed:
    """No more packets of this opening follow."""

    template: StreamTemplate


@dataclass(frozen=True, slots=True)
class Refused:
    """The source has no packets that can be copied."""

    reason: str


@dataclass(frozen=True, slots=True)
class Switch:
    """Record, or stop recording."""

    on: bool


@dataclass(frozen=True, slots=True)
class Came:
    """A packet, and the wall clock when it came."""

    template: StreamTemplate
    packet: VideoPacket
    at_ns: int


Item = Opened | Closed | Refused | Switch | Came


class PacketQueue:
    """Bounded by bytes; where it is full, packets are dropped up to the next key frame.

    What follows a lost packet cannot be decoded before that.

    Attributes:
        dropped: Packets that were dropped; only grows.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self.dropped = 0
        self._max_bytes = max_bytes
        self._nbytes = 0
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._wants_key = False
        self._ended = False

    def put(self, item: Item) -> None:
        """Add an item; never waits."""
        with self._changed:
            if isinstance(item, Came) and not self._has_room(item.packet):
                self.dropped += 1
                return
            self._items.append(item)
            self._changed.notify()

    def _has_room(self, packet: VideoPacket) -> bool:
        full = self._nbytes + len(packet.data) > self._max_bytes
        if full or (self._wants_key and not packet.is_key):
            self._wants_key = True
            return False
        self._wants_key = False
        self._nbytes += len(packet.data)
        return True

    def take(self, timeout_s: float) -> Item | None:
        """Take the oldest item, waiting for one; None where none came, or it has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended, timeout_s)
            if not self._items:
                return None
            item = self._items.popleft()
            if isinstance(item, Came):
                self._nbytes -= len(item.packet.data)
            return item

    def end(self) -> None:
        """Let `take` return at once where nothing waits, from now on."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        """True if it has ended, and nothing waits."""
        with self._changed:
            return self._ended and not self._items
