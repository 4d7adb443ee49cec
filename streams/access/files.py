"""File access of sources: regular files, under the folders that are allowed."""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from streams.errors import SourceDenied, SourceUsageError
from streams.net.patience import Patience

OpenFile = Callable[[Path], BinaryIO]

HINT = "its operator lists folders that clients may name in security.file_roots"
_KERNEL = (Path("/proc"), Path("/sys"))  # their files are no files, and some never end


def open_any(path: Path) -> BinaryIO:
    """Open whatever there is, as whoever runs the program may."""
    return path.open("rb")


class FileAccess:
    """Opens regular files under some folders, and nothing else.

    A path is resolved before it is judged, so that no link leads out of a folder; the file that
    was opened is judged again, since the path may have changed meanwhile. Opening never waits, not
    even for who writes into a pipe.
    """

    def __init__(self, roots: Iterable[Path] | None) -> None:
        """Allow the files under `roots`; None for all."""
        self._roots = None if roots is None else tuple(map(os.path.realpath, roots))

    @property
    def allows_none(self) -> bool:
        """True where there is no folder at all."""
        return self._roots == ()

    def resolve(self, path: Path) -> Path:
        """The path without links, whether there is anything or not.

        Raises:
            SourceDenied: It is under none of the folders.
            SourceUsageError: It holds control characters.
        """
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in str(path)):
            raise SourceUsageError("the path holds control characters", "rename the file")
        real = Path(os.path.realpath(path))
        self._check(real, path)
        return real

    def open(self, path: Path) -> BinaryIO:
        """Open a file.

        Raises:
            SourceDenied: It is under none of the folders, or no regular file.
            OSError: It cannot be opened.
        """
        real = self.resolve(path)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
        if not stat.S_ISREG(real.stat().st_mode):  # to open a device may already do something
            raise _irregular(path)
        descriptor = os.open(real, flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _irregular(path)
            self._check(_opened(descriptor, real), path)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    def _check(self, real: Path, path: Path) -> None:
        if any(real.is_relative_to(folder) for folder in _KERNEL):
            raise _irregular(path)
        if self._roots is not None and not any(map(real.is_relative_to, self._roots)):
            raise SourceDenied(f"clients may not name {path}", HINT)


def _opened(descriptor: int, real: Path) -> Path:
    """The path of the opened file; `real` where the system does not say."""
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    except OSError:
        return real


def _irregular(path: Path) -> SourceDenied:
    return SourceDenied(f"no regular file: {path}", "pipes and devices are not for clients")


class FileFeed:
    """A file that was opened here, for a decoder that opens nothing itself."""

    live: bool | None = False
    format: str | None = None

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self.patience = Patience(0.0)  # a disk takes as long as it takes
        self._file = file
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def close(self) -> None:
        """Close the file."""
        self._file.close()
