"""Snapshots of a project's session, from which tracking goes on after a change of the prompts."""

import re
from pathlib import Path
from typing import Protocol

from tracker.errors import OutputError

#: Bytes that the snapshots of a project may take; beyond, they are thinned evenly.
MAX_BYTES = 512 * 2**20
_NAME = re.compile(r"(\d{1,9})\.session")


class SavedSession(Protocol):
    """The part of `tracker.engine.Session` that is saved."""

    def save(self, path: Path, /) -> None:
        """Write a snapshot."""


class Snapshots:
    """Folder of sessions; the one of frame N is how the session stood before that frame.

    It holds for all prompts that are the same before frame N.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        """Use a folder, which need not exist."""
        self._folder = folder
        self._max_bytes = max_bytes

    def put(self, frame: int, session: SavedSession) -> None:
        """Keep how a session stands before a frame.

        Raises:
            OutputError: The folder cannot be made.
            SnapshotError: It cannot be written.
        """
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {self._folder}: {error.strerror}") from error
        session.save(self.path(frame))
        self._thin()

    def path(self, frame: int) -> Path:
        """File of the snapshot of a frame."""
        return self._folder / f"{frame:08d}.session"

    def newest(self, at_most: int) -> int | None:
        """The last frame up to `at_most` that has a snapshot; None where none has."""
        return max((frame for frame in self._frames() if frame <= at_most), default=None)

    def drop_after(self, frame: int) -> None:
        """Delete the snapshots of later frames: the prompts on this one have changed."""
        for other in self._frames():
            if other > frame:
                self.path(other).unlink(missing_ok=True)

    def _thin(self) -> None:
        """Drop those whose neighbours are nearest, never the first or last, until all have room."""
        frames = self._frames()
        sizes_bytes = {frame: self.path(frame).stat().st_size for frame in frames}
        while len(frames) > 2 and sum(sizes_bytes[frame] for frame in frames) > self._max_bytes:
            inner = range(1, len(frames) - 1)
            dropped = frames.pop(min(inner, key=lambda i: frames[i + 1] - frames[i - 1]))
            self.path(dropped).unlink(missing_ok=True)

    def _frames(self) -> list[int]:
        names = self._folder.iterdir() if self._folder.is_dir() else ()
        found = (_NAME.fullmatch(path.name) for path in names)
        return sorted(int(match[1]) for match in found if match)
