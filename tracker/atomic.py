"""Files that are there whole, or as they were before."""

import errno
import os
import time
from pathlib import Path

_DESCRIPTOR_WITHIN_S = 2.0
_TRY_EVERY_S = 0.005


def write_atomically(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write to `PATH.part`, sync it, rename it, and sync the folder.

    Args:
        path: The file; its folder must exist.
        data: What it is to hold.
        mode: Who may do what with it, less what the process's umask takes away.

    Raises:
        OSError: It cannot be written; what was at `path` is still there.
    """
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        descriptor = _open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - not a path
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    folder = _open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _open(path: Path, flags: int, mode: int = 0o777) -> int:
    """Open a file; wait a little for a free descriptor where connections hold all of them."""
    until_s = time.monotonic() + _DESCRIPTOR_WITHIN_S
    while True:
        try:
            return os.open(path, flags, mode)
        except OSError as err:
            if err.errno != errno.EMFILE or time.monotonic() >= until_s:
                raise
        time.sleep(_TRY_EVERY_S)
