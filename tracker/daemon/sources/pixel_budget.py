"""Budget of the pixels that frames of all streams may have, together."""

import threading
from typing import Protocol

from tracker.daemon.config.schema import LimitsConfig


class PixelLimit(Protocol):
    """Limit of the pixels that a stream's frames may have."""

    def room(self, stream: str) -> int:
        """Pixels that a frame of a stream may have."""

    def take(self, stream: str, pixels: int) -> bool:
        """Note how many a stream's frames have; False where that is too many."""

    def leave(self, stream: str) -> None:
        """Give back what a stream has; others may take it."""


class PixelBudget:
    """Shares out the pixels of frames to streams: what a frame costs in memory is in these.

    A stream takes what its frames have when it is opened, and when their size changes. Two that
    are opened at once may both be given the same room; then the later one takes too much.

    Args:
        limits: Pixels of one frame, and of one frame of each stream together.
    """

    def __init__(self, limits: LimitsConfig) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}

    def room(self, stream: str) -> int:
        """Pixels that a frame of a stream may have."""
        with self._lock:
            return self._room(stream)

    def take(self, stream: str, pixels: int) -> bool:
        """Note how many a stream's frames have; False where that is too many."""
        with self._lock:
            fits = pixels <= self._room(stream)
            self._taken[stream] = pixels if fits else 0
            return fits

    def leave(self, stream: str) -> None:
        """Give back what a stream has; others may take it."""
        with self._lock:
            self._taken.pop(stream, None)

    def _room(self, stream: str) -> int:
        others = sum(pixels for name, pixels in self._taken.items() if name != stream)
        return max(0, min(self._limits.frame_pixels, self._limits.pixels - others))
