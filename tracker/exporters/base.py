"""What every output of annotation does."""

from typing import Protocol

from streams.frame import Frame
from tracker.types import TrackResult


class Writer(Protocol):
    """Takes the frames of one run in order. Nothing is on disk before the first frame.

    Where the file system refuses, `write` and `close` raise `OutputError` or
    `streams.WriterError`, and nothing half-written is left.
    """

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Add one frame; after a failure the writer takes no more."""

    def close(self) -> None:
        """Finish, so that what was written is a valid output; without a frame there is none."""
