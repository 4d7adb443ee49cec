"""Judgement of why a finite source gives no more data: its end, damage, or a lost connection."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from streams.address import Address, SourceKind
from streams.errors import SourceUnreadable

_MAX_CHECK_BYTES = 64 * 2**20
_CHUNK_BYTES = 2**20
_SLACK_BYTES = 4096  # of headers, besides the packet that is cut
_SLACK_S = 1.0
_MICROSECONDS = 1_000_000

# What FFmpeg reports where the network failed, not the data.
_LOST = (OSError, av.error.ExitError, av.error.HTTPError, av.error.HTTPClientError)


@dataclass(slots=True)
class Progress:
    """How far the packets read so far reach.

    Attributes:
        end_bytes: Where the farthest packet ends in the file.
        largest_bytes: Size of the largest packet.
        end_s: When the latest packet ends, on the clock of the container.
    """

    end_bytes: int = 0
    largest_bytes: int = 0
    end_s: float = 0.0

    def note(self, packet: "Packet[Stream]") -> None:
        """Take note of a packet."""
        self.largest_bytes = max(self.largest_bytes, packet.size)
        if packet.pos is not None:
            self.end_bytes = max(self.end_bytes, packet.pos + packet.size)
        if packet.pts is not None and packet.time_base is not None:
            self.end_s = max(
                self.end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base)
            )


def damage_of_file(error: Exception | None, path: Path, progress: Progress) -> str | None:
    """Return what is wrong with the data at the end of a file; None where nothing is.

    FFmpeg's demuxers use the errors of the disk for damaged data too, so the disk is asked.

    Args:
        error: What FFmpeg raised; None where it came to the end.
        path: The file.
        progress: How far it was read.

    Raises:
        OSError: The disk failed.
    """
    if isinstance(error, OSError):
        if not path.is_file():  # a pipe or a device cannot be asked again
            raise error
        with path.open("rb") as file:
            file.seek(progress.end_bytes)
            for _ in range(_MAX_CHECK_BYTES // _CHUNK_BYTES):
                if not file.read(_CHUNK_BYTES):
                    break
    return None if error is None else _reason(error)


def damage_of_download(
    error: Exception | None,
    container: InputContainer,
    address: Address,
    progress: Progress,
    *,
    was_cut_off: Callable[[], bool],
) -> str | None:
    """Return what is wrong with the data at the end of a finite network source.

    Where the server announced more bytes than came, either the connection was lost or nothing
    can be read past a damaged place: some demuxers report a lost connection as bad data.

    Args:
        error: What FFmpeg raised; None where it came to the end.
        container: The source.
        address: Its address.
        progress: How far it was read.
        was_cut_off: Asks the server whether the connection was lost.

    Raises:
        Exception: `error`, where the network failed.
        SourceUnreadable: The connection was lost.
    """
    size = container.size
    slack_bytes = _SLACK_BYTES + 2 * progress.largest_bytes
    short = progress.end_bytes > 0 and size - progress.end_bytes > slack_bytes
    if error is None and not (short and _ends_early(container, progress)):
        return None
    if isinstance(error, _LOST) and (short or size <= 0):
        raise error
    if short and was_cut_off():
        raise SourceUnreadable(
            f"the connection to {address.shown} broke after {progress.end_bytes} of {size} bytes",
            "check the network and the server",
        ) from error
    if error is None:
        return f"nothing can be read after {progress.end_bytes} of {size} bytes"
    return _reason(error)


def reads_past(packets: Iterable["Packet[Stream]"], end_bytes: int, *, until_s: float) -> bool:
    """Whether packets reach beyond a place of the file, or time is up before.

    Args:
        packets: Those of a new connection, from the start.
        end_bytes: The place.
        until_s: `time.monotonic()` at which to give up.
    """
    read_bytes = 0
    try:
        for packet in packets:
            read_bytes += packet.size
            if (read_bytes if packet.pos is None else packet.pos) >= end_bytes:
                return True
            if time.monotonic() > until_s:
                return True
    except av.error.FFmpegError:
        return False
    return False


def is_finite(address: Address, *, live: bool) -> bool:
    """Whether the source is a file that has an end, here or on a server."""
    return not live and address.kind in (SourceKind.PATH, SourceKind.NETWORK)


def _ends_early(container: InputContainer, progress: Progress) -> bool:
    if container.duration is None:
        return False
    end_us = (container.start_time or 0) + container.duration
    return end_us / _MICROSECONDS - progress.end_s > _SLACK_S


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
