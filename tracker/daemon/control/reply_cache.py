"""Reply cache, so that a retried request does nothing twice."""

from collections import OrderedDict
from dataclasses import dataclass

MAX_BYTES = 32 * 2**20

Key = tuple[bytes, str]
"""A client's identity and the id of its request."""


@dataclass(frozen=True, slots=True)
class CachedReply:
    """A reply as it was sent, the digest of its request, and what it counts as."""

    digest: bytes
    outcome: str
    reply: bytes


class ReplyCache:
    """The newest replies of all clients together; the one unused longest is forgotten first.

    Args:
        capacity: Replies kept; 0 for none.
        max_bytes: All kept replies together are not longer.
    """

    def __init__(self, capacity: int, max_bytes: int = MAX_BYTES) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._replies: OrderedDict[Key, CachedReply] = OrderedDict()
        self.nbytes = 0

    def put(self, key: Key, remembered: CachedReply) -> None:
        """Keep a reply under a key that holds none yet."""
        self._replies[key] = remembered
        self.nbytes += len(remembered.reply)
        while len(self._replies) > self._capacity or self.nbytes > self._max_bytes:
            _, oldest = self._replies.popitem(last=False)
            self.nbytes -= len(oldest.reply)

    def get(self, key: Key) -> CachedReply | None:
        """The reply under `key`, or None."""
        found = self._replies.get(key)
        if found is not None:
            self._replies.move_to_end(key)
        return found

    def __len__(self) -> int:
        return len(self._replies)
