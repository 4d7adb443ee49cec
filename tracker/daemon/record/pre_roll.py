"""Newest packets of a stream, for a recording that begins before it was asked for."""

from collections import deque

from tracker.daemon.record.packet_queue import Came

MAX_BYTES = 64 * 2**20


class PreRoll:
    """Groups of packets from a key frame on, as many as cover `seconds` and fit into memory.

    Args:
        seconds: That are to be covered; 0 keeps nothing.
        max_bytes: The oldest groups go where there is more.
    """

    def __init__(self, seconds: float, *, max_bytes: int = MAX_BYTES) -> None:
        self._span_ns = int(1e9 * seconds)
        self._max_bytes = max_bytes
        self._groups: deque[list[Came]] = deque()
        self._nbytes = 0

    def keep(self, came: Came) -> None:
        """Keep a packet, and let go what is too old."""
        if not self._span_ns:
            return
        if came.packet.is_key:
            self._groups.append([])
        if self._groups:
            self._groups[-1].append(came)
            self._nbytes += len(came.packet.data)
        while self._is_too_much(came.at_ns - self._span_ns):
            self._nbytes -= sum(len(one.packet.data) for one in self._groups.popleft())

    def _is_too_much(self, from_ns: int) -> bool:
        """True if the groups after the first cover the span, or there is no room for it."""
        covered = len(self._groups) > 1 and self._groups[1][0].at_ns <= from_ns
        return covered or (bool(self._groups) and self._nbytes > self._max_bytes)

    def take(self) -> list[Came]:
        """All packets, the oldest first; none are left."""
        packets = [came for group in self._groups for came in group]
        self._groups.clear()
        self._nbytes = 0
        return packets
