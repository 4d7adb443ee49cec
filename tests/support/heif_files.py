"""HEIF files made box by box (ISO/IEC 23008-12): pictures in tiles, and ones with a thumbnail."""

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

_GRID = b"grid"
_AV1 = b"av01"


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _av1_still(image: NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """Return the av1C box and the data of one picture."""
    if not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    file = io.BytesIO()
    Image.fromarray(image).save(file, "AVIF", speed=10)
    data = file.getvalue()
    boxes = []
    for kind in (b"av1C", b"mdat"):
        start = data.index(kind) - 4
        boxes.append(data[start : start + struct.unpack_from(">I", data, start)[0]])
    return boxes[0], boxes[1][8:]


def heif(
    images: list[NDArray[np.uint8]], *, grid: tuple[int, int] | None, primary: int = 1
) -> bytes:
    """Return a HEIF file with AV1 in it.

    Args:
        images: Pictures of its items 1, 2, ...
        grid: Rows and columns of the picture that the items are tiles of, in this order; None
            where each is a picture of its own.
        primary: Item that the file is about; a grid comes after the last picture.
    """
    encoded = [_av1_still(image) for image in images]
    payloads = [sample for _, sample in encoded]
    kinds = [_AV1] * len(images)
    sizes = [(image.shape[1], image.shape[0]) for image in images]
    references = b""
    if grid is not None:
        rows, columns = grid
        width, height = columns * sizes[0][0], rows * sizes[0][1]
        payloads.append(struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height))
        kinds.append(_GRID)
        sizes.append((width, height))
        primary = len(kinds)
        tiles = struct.pack(f">{len(images)}H", *range(1, len(kinds)))
        dimg = _box(b"dimg", struct.pack(">HH", primary, len(images)), tiles)
        references = _full_box(b"iref", 0, 0, dimg)
    head = _box(b"ftyp", b"mif1", bytes(4), b"mif1avif")
    properties = _properties([av1c for av1c, _ in encoded], sizes)
    size = len(_meta(kinds, primary, payloads, references, properties, 0))
    offset = len(head) + size + 8
    meta = _meta(kinds, primary, payloads, references, properties, offset)
    return head + meta + _box(b"mdat", *payloads)


def _properties(configurations: list[bytes], sizes: list[tuple[int, int]]) -> bytes:
    extents = [_full_box(b"ispe", 0, 0, struct.pack(">II", *size)) for size in sizes]
    associations = b""
    for item in range(1, len(sizes) + 1):
        its = [len(configurations) + item]
        its += [0x80 | item] if item <= len(configurations) else []
        associations += struct.pack(f">HB{len(its)}B", item, len(its), *its)
    ipma = _full_box(b"ipma", 0, 0, struct.pack(">I", len(sizes)), associations)
    return _box(b"iprp", _box(b"ipco", *configurations, *extents), ipma)


def _meta(
    kinds: list[bytes],
    primary: int,
    payloads: list[bytes],
    references: bytes,
    properties: bytes,
    offset: int,
) -> bytes:
    infos, places = b"", b""
    for item, (kind, payload) in enumerate(zip(kinds, payloads, strict=True), 1):
        infos += _full_box(b"infe", 2, 0, struct.pack(">HH4s", item, 0, kind), b"\0")
        places += struct.pack(">HHHII", item, 0, 1, offset, len(payload))
        offset += len(payload)
    count = struct.pack(">H", len(kinds))
    return _full_box(
        b"meta",
        0,
        0,
        _full_box(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)),
        _full_box(b"pitm", 0, 0, struct.pack(">H", primary)),
        _full_box(b"iloc", 0, 0, b"\x44\x00", count, places),
        _full_box(b"iinf", 0, 0, count, infos),
        references,
        properties,
    )
