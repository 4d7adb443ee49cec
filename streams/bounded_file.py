"""Reading a whole file into memory, where it is small enough."""

import errno
import os
from typing import BinaryIO


def read_at_most(file: BinaryIO, max_bytes: int) -> bytes:
    """What an open file holds.

    Raises:
        OSError: It cannot be read, or is larger (EFBIG); at most `max_bytes` + 1 were read then.
    """
    if os.fstat(file.fileno()).st_size > max_bytes:
        raise _too_large(max_bytes)
    data = file.read(max_bytes + 1)  # it may be no plain file, or grow
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return data


def _too_large(max_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"larger than {max_bytes >> 20} MiB")
