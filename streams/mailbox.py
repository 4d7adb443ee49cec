"""Mailbox between a decoder and whoever takes its frames: bounded, with a policy, counted."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Between one producer thread and one consumer thread.

    Where stale items are dropped, the newest `capacity` items are kept and the producer never
    waits; elsewhere every item is kept and the producer waits for room.

    Attributes:
        dropped: Items that went because newer ones came, or were skipped.
        put_count: Items put, those dropped later included.
    """

    def __init__(self, *, capacity: int, drop_stale: bool, on_put: Callable[[], None]) -> None:
        """Make it open and empty.

        Args:
            capacity: Items kept; at least 1.
            drop_stale: The policy.
            on_put: Called by the producer's thread after each item; must not wait.
        """
        self.dropped = 0
        self.put_count = 0
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._on_put = on_put
        self._closed = False
        self._closings = 0
        self.arrange(capacity=capacity, drop_stale=drop_stale)

    def arrange(self, *, capacity: int, drop_stale: bool) -> None:
        """Change the policy; items that are kept stay until the next `put`."""
        if capacity < 1:
            raise ValueError(f"a mailbox needs room, not {capacity}")
        with self._changed:
            self._capacity = capacity
            self._drop_stale = drop_stale
            self._changed.notify_all()

    def put(self, item: T) -> bool:
        """Add an item, by the policy.

        Returns:
            False where the mailbox is closed, or was closed while this waited for room: the item
            is not in it.
        """
        with self._changed:
            closings = self._closings
            while not (self._closed or self._drop_stale or len(self._items) < self._capacity):
                self._changed.wait()
                if self._closings != closings:  # even where it is open again by now
                    return False
            if self._closed:
                return False
            while len(self._items) >= self._capacity:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self.put_count += 1
        self._on_put()
        return True

    def skip(self) -> None:
        """Count an item as dropped that is not even put."""
        with self._changed:
            self.dropped += 1

    def get(self) -> T | None:
        """Take the oldest item; None where there is none. Never waits; works when closed too."""
        with self._changed:
            if not self._items:
                return None
            self._changed.notify_all()
            return self._items.popleft()

    def close(self) -> None:
        """Take no more items; a `put` that waits returns."""
        with self._changed:
            self._closed = True
            self._closings += 1
            self._changed.notify_all()

    def reopen(self) -> None:
        """Take items again."""
        with self._changed:
            self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)
