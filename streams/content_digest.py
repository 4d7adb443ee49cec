"""A digest of what a source holds, from a sample of bounded size."""

import hashlib
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
from av.container import InputContainer

from streams.address import Address, SourceKind, parse_address
from streams.foreign import translated
from streams.image_folder import find_images

_FILE_BYTES = 64 * 2**20  # read of one video file, or of a folder's images together
_NETWORK_BYTES = 16 * 2**20
_IMAGES = 1024  # that are read, of a folder that holds more
_BLOCKS = 16


def content_digest(url: str, *, timeout_s: float = 10.0) -> str:
    """Return a digest, as hex, that changes where a source is exchanged for another.

    Of files, names, sizes and times of change count, and their content: all of it up to 64 MiB,
    beyond that a sample, head and tail included. Of what a server gives, size and content count
    in the same way, up to 16 MiB; where it gives no parts, the first 16 MiB. Cameras and patterns
    have no content but their address. Credentials do not count.

    Args:
        url: As for `open_source`.
        timeout_s: Longest wait, in seconds, for a server.

    Raises:
        StreamError: The source cannot be read.
    """
    address = parse_address(url)
    digest = hashlib.sha256()
    with translated(address, timeout_s):
        for piece in _pieces(address, timeout_s):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(address: Address, timeout_s: float) -> Iterator[bytes]:
    if address.kind is SourceKind.PATH:
        path = Path(address.location)
        yield from _file_pieces(find_images(path) or (path,))
    elif address.kind is SourceKind.NETWORK:
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
    """Bytes as FFmpeg gets them, so that passwords, proxies and time limits are those of a run."""
    head_bytes = _NETWORK_BYTES // _BLOCKS
    with _open_bytes(address, timeout_s) as container:
        size_bytes = container.size
        yield f"{size_bytes}\n".encode()
        yield from _take(container, head_bytes)
        if size_bytes > _NETWORK_BYTES and _can_go_back(container, head_bytes):
            for offset, length in _blocks(size_bytes, _NETWORK_BYTES)[1:]:
                container.seek(offset, unsupported_byte_offset=True)
                yield from _take(container, length)
        else:
            yield from _take(container, _NETWORK_BYTES - head_bytes)


def _can_go_back(container: InputContainer, position_bytes: int) -> bool:
    """Whether the server gives parts: otherwise FFmpeg stays where it is, without an error.

    Going ahead tells nothing: FFmpeg would get all that lies in between.
    """
    container.seek(1, unsupported_byte_offset=True)
    packet = next(container.demux())
    return packet.pos is not None and packet.pos < position_bytes


def _take(container: InputContainer, length_bytes: int) -> Iterator[bytes]:
    for packet in container.demux():
        piece = bytes(packet)[:length_bytes]
        yield piece
        length_bytes -= len(piece)
        if not piece or not length_bytes:
            return


def _open_bytes(address: Address, timeout_s: float) -> InputContainer:
    return av.open(
        address.location, format="data", options=dict(address.options), timeout=timeout_s
    )


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
