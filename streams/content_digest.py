"""A digest of what a source holds, from a sample of bounded size."""

import hashlib
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from streams.address import Address, SourceKind, parse_address
from streams.decode.ffmpeg_errors import translated
from streams.net.http_client import HttpClient
from streams.net.patience import Patience
from streams.options import SourceOptions
from streams.sources.http import HttpBody
from streams.sources.images import find_images

_FILE_BYTES = 64 * 2**20  # read of one video file, or of a folder's images together
_NETWORK_BYTES = 16 * 2**20
_IMAGES = 1024  # that are read, of a folder that holds more
_BLOCKS = 16


def content_digest(
    url: str, *, options: SourceOptions | None = None, timeout_s: float = 10.0
) -> str:
    """Return a digest, as hex, that changes where a source is exchanged for another.

    Of files, names, sizes and times of change count, and their content: all of it up to 64 MiB,
    beyond that a sample, head and tail included. Of what a server gives, size and content count
    in the same way, up to 16 MiB; where it gives no parts, the first 16 MiB. Cameras and patterns
    have no content but their address. Credentials do not count.

    Args:
        url: As for `open_source`.
        options: Likewise.
        timeout_s: Longest wait, in seconds, for a server.

    Raises:
        StreamError: The source cannot be read.
    """
    address = parse_address(url, options)
    digest = hashlib.sha256()
    with translated(address, timeout_s):
        for piece in _pieces(address, timeout_s):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(address: Address, timeout_s: float) -> Iterator[bytes]:
    if address.kind is SourceKind.PATH:
        path = Path(address.location)
        yield from _file_pieces(find_images(path) or (path,))
    elif address.scheme in ("http", "https"):
        yield from _server_pieces(address, timeout_s)


def _file_pieces(paths: Sequence[Path]) -> Iterator[bytes]:
    sizes_bytes: dict[Path, int] = {}
    for path in paths:
        status = path.stat()
        yield f"{path.name!a} {status.st_size} {status.st_mtime_ns}\n".encode()
        if stat.S_ISREG(status.st_mode):  # reading a pipe would take its bytes away
            sizes_bytes[path] = status.st_size
    files = list(sizes_bytes)
    read = [files[index] for index in _spread(len(files), min(len(files), _IMAGES))]
    is_small = sum(sizes_bytes[path] for path in read) <= _FILE_BYTES
    for path in read:
        size_bytes = sizes_bytes[path]
        with path.open("rb") as file:
            for offset, length in _blocks(
                size_bytes, size_bytes if is_small else _FILE_BYTES // len(read)
            ):
                file.seek(offset)
                yield file.read(length)


def _server_pieces(address: Address, timeout_s: float) -> Iterator[bytes]:
    """Bytes as a run gets them, with its login, certificates and time limits."""
    client = HttpClient(address, Patience(timeout_s))
    body = HttpBody(client, client.get())
    try:
        size_bytes = body.size_bytes
        yield f"{size_bytes}\n".encode()
        if size_bytes is not None and body.seekable():
            for offset, length in _blocks(size_bytes, _NETWORK_BYTES):
                body.seek(offset)
                yield from _take(body, length, timeout_s)
        else:
            yield from _take(body, _NETWORK_BYTES, timeout_s)
    finally:
        body.close()


def _take(body: HttpBody, length_bytes: int, timeout_s: float) -> Iterator[bytes]:
    while length_bytes > 0:
        body.patience.renew(timeout_s)
        piece = body.read(length_bytes)
        if not piece:
            return
        yield piece
        length_bytes -= len(piece)


def _blocks(size_bytes: int, limit_bytes: int) -> list[tuple[int, int]]:
    """Offset and length of what to read: all, or blocks from the first byte to the last."""
    if size_bytes <= limit_bytes:
        return [(0, size_bytes)]
    length = limit_bytes // _BLOCKS
    return [(offset, length) for offset in _spread(size_bytes - length + 1, _BLOCKS)]


def _spread(count: int, chosen: int) -> list[int]:
    """Evenly spaced whole numbers below `count`, 0 and the last included."""
    if chosen < 2:
        return list(range(chosen))
    return [index * (count - 1) // (chosen - 1) for index in range(chosen)]
