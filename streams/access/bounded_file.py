"""Reading a whole file into memory, where it is small enough."""

import errno
import os
from pathlib import Path

from streams.access.files import OpenFile, open_any


def read_at_most(path: Path, max_bytes: int, open_file: OpenFile = open_any) -> bytes:
    """The content of a file.

    Raises:
        OSError: It cannot be read, or is larger (EFBIG); at most `max_bytes` + 1 were read then.
    """
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise _too_large(path, max_bytes)
        data = file.read(max_bytes + 1)  # it may be no plain file, or grow
    if len(data) > max_bytes:
        raise _too_large(path, max_bytes)
    return data


def _too_large(path: Path, max_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"larger than {max_bytes >> 20} MiB", str(path))
