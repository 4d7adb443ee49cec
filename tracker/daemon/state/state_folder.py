"""The state folder on the disk, which one daemon at a time has."""

import fcntl
import os
import threading
from pathlib import Path

from tracker.errors import OutputError, TrackdError


class StateFolder:
    """A folder and the lock in it, which is held until `close` or the end of the process.

    While the daemon runs, somebody may delete the folder: it is made again. Where it was moved
    away, nothing is made in its place, which would be in the way when it is moved back: what is
    written follows it, and `check` says that a restart would not find it.

    Those who write to it may call `here` from threads of their own; it may wait for the disk.
    """

    def __init__(self, path: Path) -> None:
        """Make the folder, if need be, and take possession of it.

        Raises:
            TrackdError: It cannot be made or written, or another daemon has it.
        """
        self._path = path
        self._folder, self._lock = _take(path)
        self._moved = False
        self._looking = threading.Lock()

    def close(self) -> None:
        """Leave it to the next daemon."""
        os.close(self._lock)
        os.close(self._folder)

    def here(self) -> Path:
        """Folder to write to now.

        Raises:
            TrackdError: It is gone and cannot be made, or another daemon has it.
        """
        with self._looking:
            there = _identity(self._path)
            self._moved = there is None and os.fstat(self._folder).st_nlink > 0
            if self._moved:
                return Path(f"/proc/self/fd/{self._folder}")
            lock = _identity(self._path / "lock")
            if (there, lock) != (_identity(self._folder), _identity(self._lock)):
                held = self._folder, self._lock
                self._folder, self._lock = _take(self._path)
                for descriptor in held:
                    os.close(descriptor)
            return self._path

    def check(self) -> None:
        """Look at what `here` found.

        Raises:
            OutputError: A restart would not find what is written.
        """
        if self._moved:
            raise OutputError(
                f"the state folder {self._path} was moved away", "move it back, or restart trackd"
            )


def _identity(place: Path | int) -> tuple[int, int] | None:
    """Identity of the file at a path or descriptor; None where there is nothing."""
    try:
        status = os.stat(place)  # noqa: PTH116 - a descriptor, too
    except FileNotFoundError:
        return None
    except OSError as err:
        raise TrackdError(
            f"cannot use the state folder: {place}: {err.strerror}", "give it back to trackd"
        ) from err
    return status.st_dev, status.st_ino


def _take(path: Path) -> tuple[int, int]:
    """Make a folder, if need be, and lock it until the returned descriptors are closed."""
    lock = -1
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), lock
    except OSError as err:
        if lock >= 0:
            os.close(lock)
        if isinstance(err, BlockingIOError):
            raise TrackdError(
                f"another daemon uses the state folder {path}",
                "stop it, or give each its own state.dir",
            ) from err
        raise TrackdError(
            f"cannot use the state folder {path}: {err.strerror}",
            "give the daemon's user the right to write it, or choose another state.dir",
        ) from err
