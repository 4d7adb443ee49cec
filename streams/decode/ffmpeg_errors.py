"""The one boundary where errors of FFmpeg and of the operating system become stream errors."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av.error

from streams.decode.memory import check_memory
from streams.errors import (
    SourceDenied,
    SourceNotFound,
    SourceTimeout,
    SourceUnreadable,
    StreamError,
)
from streams.sources.base import Address, SourceKind

_CHECK = {
    SourceKind.PATH: "check that it is a video that FFmpeg can play",
    SourceKind.NETWORK: "check the host, the port and the network",
    SourceKind.CAMERA: "check that it is connected and that no other program uses it",
    SourceKind.PATTERN: "try lavfi:testsrc2=size=640x480:rate=30",
}


@contextmanager
def translated(address: Address, timeout_s: float | None = None) -> Iterator[None]:
    """Raise a StreamError for any FFmpeg or OS error of the block, with the cause kept.

    Errors for want of memory are not the source's: they are raised as MemoryError.

    Args:
        address: The source that the block works on.
        timeout_s: The timeout in force, in seconds; None where the system sets it.
    """
    try:
        yield
    except av.error.FFmpegError as error:
        # The location with its credentials must not come back through a printed traceback.
        error.args = (error.errno, error.strerror, address.shown)
        if isinstance(error, MemoryError):
            check_memory()
        raise _stream_error(error, address, timeout_s) from error
    except OSError as error:
        raise _stream_error(error, address, timeout_s) from error


def _stream_error(error: Exception, address: Address, timeout_s: float | None) -> StreamError:
    shown = address.shown
    within = "" if timeout_s is None else f" within {timeout_s:g} s"
    reason = getattr(error, "strerror", None) or type(error).__name__
    if isinstance(error, OSError) and _is_readable(address):
        # Demuxers take the errors of the disk for those of the data: "no permission", "no file".
        return SourceUnreadable(f"cannot read {shown}: {reason}", _CHECK[SourceKind.PATH])
    match error:
        case av.error.ExitError() | TimeoutError() | BlockingIOError():
            return SourceTimeout(f"no answer from {shown}{within}", _CHECK[address.kind])
        case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
            return SourceDenied(f"access denied: {shown}", "check the user and the password")
        case av.error.HTTPNotFoundError():
            return SourceNotFound(f"the server has nothing at {shown}", "check the path")
        case ConnectionRefusedError():
            return SourceUnreadable(f"connection refused: {shown}", _CHECK[address.kind])
        case PermissionError():
            return SourceDenied(f"no permission to read {shown}", "check its access rights")
        case FileNotFoundError() if address.kind is SourceKind.CAMERA:
            return SourceNotFound(f"no such camera: {shown}", _CHECK[address.kind])
        case FileNotFoundError() | NotADirectoryError() if address.kind is SourceKind.PATH:
            return SourceNotFound(f"no such file: {shown}", "check the path")
        # A format that is not among those that are allowed is an argument to FFmpeg.
        case av.error.InvalidDataError() | av.error.ArgumentError() if (
            address.kind is SourceKind.PATH
        ):
            return _unreadable_file(Path(address.location), shown)
        case av.error.InvalidDataError() | av.error.ArgumentError() if (
            address.kind is SourceKind.NETWORK
        ):
            hint = address.no_video_hint
            if address.format == "rtsp" and isinstance(error, av.error.ArgumentError):
                hint = "where it redirects, give the address that it means"
            return SourceUnreadable(f"no video that can be read: {shown}", hint)
    if getattr(error, "errno", None) == errno.EPROTONOSUPPORT and address.format == "rtsp":
        asked = address.options.get("rtsp_transport", "")
        return SourceUnreadable(
            f"{shown} does not send over {asked.upper()}", "set source option rtsp_transport=auto"
        )
    if isinstance(error, OSError) and error.errno == errno.EBUSY:
        return SourceUnreadable(f"{shown} is busy", _CHECK[address.kind])
    return SourceUnreadable(f"cannot read {shown}: {reason}", _CHECK[address.kind])


def _is_readable(address: Address) -> bool:
    path = Path(address.location)
    return address.kind is SourceKind.PATH and os.access(path, os.R_OK) and path.is_file()


def _unreadable_file(path: Path, shown: str) -> SourceUnreadable:
    """Say what is wrong with a file that FFmpeg finds no sense in."""
    head = _head(path)
    if head == b"":
        return SourceUnreadable(f"the file is empty: {shown}", "copy or record it again")
    if head is not None and head[4:8] == b"ftyp":
        return SourceUnreadable(
            f"the index (moov) of {shown} is missing or broken",
            "its recording or copy was cut short: copy it again or repair it",
        )
    return SourceUnreadable(f"not a video, or a damaged one: {shown}", _CHECK[SourceKind.PATH])


def _head(path: Path) -> bytes | None:
    """Return the first bytes of a file; None where it is a pipe, or gone since."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(12)
    except OSError:
        pass
    return None
