"""Judgement of why a finite source gives no more data: its end, damage, or a lost connection."""

from pathlib import Path

import av.error

from streams.sources.base import Address, SourceKind

_MAX_CHECK_BYTES = 64 * 2**20
_CHUNK_BYTES = 2**20

# What FFmpeg reports where the network failed, not the data.
_LOST = (OSError, av.error.ExitError, av.error.HTTPError, av.error.HTTPClientError)


def damage_of_file(error: Exception, path: Path, end_bytes: int) -> str:
    """Return what is wrong with the data at the end of a file.

    FFmpeg's demuxers use the errors of the disk for damaged data too, so the disk is asked.

    Args:
        error: What FFmpeg raised.
        path: The file.
        end_bytes: How far it was read.

    Raises:
        OSError: The disk failed.
    """
    if isinstance(error, OSError):
        if not path.is_file():  # a pipe or a device cannot be asked again
            raise error
        with path.open("rb") as file:
            file.seek(end_bytes)
            for _ in range(_MAX_CHECK_BYTES // _CHUNK_BYTES):
                if not file.read(_CHUNK_BYTES):
                    break
    return _reason(error)


def damage_of_stream(error: Exception, *, own_connection: bool) -> str:
    """Return what is wrong with the data at the end of a finite network source.

    Args:
        error: What ended it.
        own_connection: The connection is not FFmpeg's, whose own errors then are about the data.

    Raises:
        Exception: `error`, where the network failed.
    """
    about_data = own_connection and isinstance(error, av.error.FFmpegError)
    if isinstance(error, _LOST) and not about_data:
        raise error
    return _reason(error)


def is_finite(address: Address, *, live: bool) -> bool:
    """True where the source is a file that has an end, here or on a server."""
    return not live and address.kind in (SourceKind.PATH, SourceKind.NETWORK)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
