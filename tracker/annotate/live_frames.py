"""Bounded queue of live frames, read by a thread of its own while one is tracked.

A source without a clock gets its times from when its pictures are read, so reading must not wait
for tracking.
"""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Self

from streams.frame import Frame

_MAX_BYTES = 64 * 2**20  # of pictures that wait
_MAX_FRAMES = 64


class LiveFrames:
    """Iterator over frames that a thread reads ahead, bounded: where it is full, reading waits.

    Errors of the source come after its last frame. Leaving the block waits for the read that is
    under way, since a source must not be closed during one.
    """

    def __init__(self, frames: Iterable[Frame], *, frame_bytes: int) -> None:
        """Make it; reading begins with the block.

        Args:
            frames: Of an open source; nobody else may read them.
            frame_bytes: Size of a picture, by which their number is bounded.
        """
        capacity = min(_MAX_FRAMES, max(2, _MAX_BYTES // max(1, frame_bytes)))
        self._waiting: queue.Queue[Frame | None] = queue.Queue(capacity)
        self._frames = iter(frames)
        self._leaving = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._read, name="live-frames", daemon=True)

    def _read(self) -> None:
        try:
            for frame in self._frames:
                self._waiting.put(frame)
                if self._leaving.is_set():
                    break
        except Exception as error:  # raised where the frames are taken
            self._failure = error
        self._waiting.put(None)

    def __iter__(self) -> Iterator[Frame]:
        """Give the frames in order."""
        while (frame := self._waiting.get()) is not None:
            yield frame
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._leaving.set()
        while self._thread.is_alive():
            try:  # make room for a frame that waits for it
                self._waiting.get(timeout=0.05)
            except queue.Empty:
                self._thread.join(0.05)
