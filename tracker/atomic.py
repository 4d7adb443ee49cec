"""Files that are there whole, or as they were before."""

import os
from pathlib import Path


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
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - not a path
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
