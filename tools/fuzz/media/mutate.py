"""Mutations of media files: flips, cuts, splices, and fields that give lengths."""

import random
import struct
from collections.abc import Callable, Sequence

_MAX_FLIPS = 24
_HEADER_BYTES = 600
_LENGTHS = (0, 1, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutate(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return a broken copy of `data`, not empty; pieces of `others` may come into it."""
    mutated = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.choice(_KINDS)
        mutated = kind(mutated, others, rng) or mutated
    return bytes(mutated)


def _place(data: bytearray, rng: random.Random) -> int:
    """Return a position in it, half of the time in what is likely its header."""
    end = min(len(data), _HEADER_BYTES) if rng.random() < 0.5 else len(data)
    return rng.randrange(max(1, end))


def _flip(data: bytearray, _: Sequence[bytes], rng: random.Random) -> bytearray:
    for _flip in range(rng.randint(1, _MAX_FLIPS)):
        at = _place(data, rng)
        data[at] = rng.randrange(256) if rng.random() < 0.5 else data[at] ^ 1 << rng.randrange(8)
    return data


def _cut_end(data: bytearray, _: Sequence[bytes], rng: random.Random) -> bytearray:
    return data[: rng.randint(1, len(data))]


def _cut_out(data: bytearray, _: Sequence[bytes], rng: random.Random) -> bytearray:
    at = _place(data, rng)
    return data[:at] + data[at + rng.randint(1, 1 + len(data) // 8) :]


def _repeat(data: bytearray, _: Sequence[bytes], rng: random.Random) -> bytearray:
    at = _place(data, rng)
    piece = data[at : at + rng.randint(1, 1 + len(data) // 4)]
    return data[:at] + piece * rng.randint(2, 4) + data[at:]


def _zero(data: bytearray, _: Sequence[bytes], rng: random.Random) -> bytearray:
    at = _place(data, rng)
    size = min(rng.randint(1, 200), len(data) - at)
    data[at : at + size] = bytes(size)
    return data


def _splice(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    other = rng.choice(others)
    start = rng.randrange(len(other))
    piece = other[start : start + rng.randint(1, len(other))]
    at = _place(data, rng)
    keep = at + len(piece) if rng.random() < 0.5 else at  # written over, or put in between
    return data[:at] + piece + data[keep:]


def _lengths(data: bytearray, _: Sequence[bytes], rng: random.Random) -> bytearray:
    """Change numbers that are likely lengths, counts or sizes of pictures."""
    for _field in range(rng.randint(1, 3)):
        code, width = rng.choice(((">I", 4), ("<I", 4), (">H", 2), ("<H", 2)))
        likely = [
            at
            for at in range(min(len(data) - width, 4 * _HEADER_BYTES))
            if 0 < struct.unpack_from(code, data, at)[0] <= len(data)
        ]
        if likely:
            value = rng.choice((*_LENGTHS, len(data), rng.randrange(2**32)))
            struct.pack_into(code, data, rng.choice(likely), value & (1 << 8 * width) - 1)
    return data


_Kind = Callable[[bytearray, Sequence[bytes], random.Random], bytearray]
_KINDS: tuple[_Kind, ...] = (
    _flip,
    _flip,
    _flip,
    _lengths,
    _lengths,
    _cut_end,
    _cut_out,
    _repeat,
    _zero,
    _splice,
)
