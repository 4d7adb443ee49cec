"""Segments of a stream on the disk: their names, what they take up, and which go first."""

import contextlib
import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tracker.protocol.fields import RecordSettings
from tracker.protocol.recording import SEGMENT_FILE, segment_stem

_FULL = (errno.ENOSPC, errno.EDQUOT)
_OWNER_ONLY, _OWNER_FOLDER = 0o600, 0o700


@dataclass(frozen=True, slots=True)
class Segment:
    """Files of the same stem.

    Attributes:
        stem: When it began, in UTC; sorts by time.
        paths: Its files.
        nbytes: Of all of them.
        newest_s: When one was written last, in seconds since 1970.
    """

    stem: str
    paths: tuple[Path, ...]
    nbytes: int
    newest_s: float


class SegmentFolder:
    """Folder of the segments of one stream; other files in it are left alone.

    Several processes may use it: it keeps nothing but what is on the disk.

    Args:
        path: The folder, made when the first file is.
        keep_s: Seconds after which a segment is removed; None for no limit.
        keep_bytes: Bytes of all segments; None for no limit.
    """

    def __init__(
        self, path: Path, *, keep_s: float | None = None, keep_bytes: float | None = None
    ) -> None:
        self.path = path
        self._keep_s = keep_s
        self._keep_bytes = keep_bytes

    @classmethod
    def of(cls, stream: str, settings: RecordSettings) -> "SegmentFolder":
        """The folder of a stream."""
        hours, gib = settings.keep_h, settings.keep_gib
        return cls(
            settings.dir / stream,
            keep_s=None if hours is None else 3600 * hours,
            keep_bytes=None if gib is None else gib * 2**30,
        )

    def segments(self) -> list[Segment]:
        """All segments, the oldest first."""
        found: dict[str, list[Path]] = {}
        with contextlib.suppress(FileNotFoundError):
            for path in self.path.iterdir():
                if (match := SEGMENT_FILE.fullmatch(path.name)) is not None:
                    found.setdefault(match["stem"], []).append(path)
        return [_segment(stem, sorted(found[stem])) for stem in sorted(found)]

    def new_stem(self, now_ns: int) -> str:
        """A name for a segment that begins now, later than that of any other."""
        existing = self.segments()
        stem = segment_stem(now_ns)
        while existing and stem <= existing[-1].stem:  # the clock was set back, or is too coarse
            now_ns = max(now_ns, _time_ns(existing[-1].stem)) + 1_000_000
            stem = segment_stem(now_ns)
        return stem

    def trim(self, current: str | None) -> int:
        """Remove what is too old or too much, but not the `current` one; returns how many."""
        segments = self.segments()
        total = sum(one.nbytes for one in segments)
        removed = 0
        for one in segments:
            is_old = self._keep_s is not None and time.time() - one.newest_s > self._keep_s
            is_much = self._keep_bytes is not None and total > self._keep_bytes
            if one.stem == current or not (is_old or is_much):
                continue
            _remove(one)
            total -= one.nbytes
            removed += 1
        return removed

    def make_room(self, current: str | None) -> bool:
        """Remove the oldest segment but the `current` one; False where there is none."""
        oldest = next((one for one in self.segments() if one.stem != current), None)
        if oldest is None:
            return False
        _remove(oldest)
        return True


class SegmentFile:
    """File that is appended to; where the disk is full, room is made.

    Args:
        path: The file; it must not be there.
        make_room: Frees something; False where nothing is left to free.
        write: Writes to a descriptor, as `os.write`.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(
        self,
        path: Path,
        make_room: Callable[[], bool],
        *,
        write: Callable[[int, memoryview], int] = os.write,
    ) -> None:
        self.nbytes = 0
        self._make_room = make_room
        self._os_write = write
        path.parent.mkdir(mode=_OWNER_FOLDER, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor = os.open(path, flags, _OWNER_ONLY)

    def append(self, data: bytes) -> None:
        """Write all of it, or nothing.

        Raises:
            OSError: It cannot be written, also after room was made.
        """
        left = memoryview(data)
        try:
            while left:
                left = left[self._some(left) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.nbytes)
            raise
        self.nbytes += len(data)

    def _some(self, data: memoryview) -> int:
        while True:
            try:
                return self._os_write(self._descriptor, data)
            except OSError as err:
                if err.errno not in _FULL or not self._make_room():
                    raise

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def _segment(stem: str, paths: list[Path]) -> Segment:
    nbytes, newest_s = 0, 0.0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # another process removed it
            status = path.stat()
            nbytes += status.st_size
            newest_s = max(newest_s, status.st_mtime)
    return Segment(stem, tuple(paths), nbytes, newest_s)


def _remove(segment: Segment) -> None:
    for path in segment.paths:
        path.unlink(missing_ok=True)


def _time_ns(stem: str) -> int:
    at = datetime.strptime(stem, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    return round(at.timestamp() * 1000) * 10**6
