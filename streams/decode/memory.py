"""Failures for want of memory, as opposed to those of damaged data."""

import mmap

_LEAST_ROOM_BYTES = 256 << 20


def check_memory(needed_bytes: int = 0) -> None:
    """Look, after something could not be decoded, whether it was for want of memory.

    Damaged data may ask for more memory than any machine has, and some decoders say nothing else
    of a shortage than of damage. Only a process that cannot have a usual amount is short of it.

    Args:
        needed_bytes: What it is known to have asked for.

    Raises:
        MemoryError: The process can have no more memory, whatever the data is like.
    """
    try:
        mmap.mmap(-1, max(needed_bytes, _LEAST_ROOM_BYTES)).close()
    except OSError as error:
        raise MemoryError("no memory left to decode with") from error
