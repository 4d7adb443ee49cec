"""Run lengths of Label Studio's brush: the bit stream of `label_studio_sdk.converter.brush`.

A picture of four equal channels, 0 or 255, is a header (number of values, bits of a value, bits of
four kinds of run lengths), then runs: 1, the kind of the length, the length less one, the value.
"""

import numpy as np
from numpy.typing import NDArray

_CHANNELS = 4
_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_LONGEST = 1 << _LENGTH_BITS[-1]
_OPAQUE = 255


def encode_brush_rle(mask_hw: NDArray[np.bool_]) -> list[int]:
    """Compress a bool mask [H, W] to bytes, as numbers."""
    flat = mask_hw.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(edges, prepend=0, append=len(flat)) * _CHANNELS
    bits = [f"{len(flat) * _CHANNELS:032b}", f"{_VALUE_BITS - 1:05b}"]
    bits += [f"{count - 1:04b}" for count in _LENGTH_BITS]
    value = int(flat[0])
    for length in lengths.tolist():
        while length:
            taken = min(length, _LONGEST)
            bits.append(_run(taken, value * _OPAQUE))
            length -= taken
        value = 1 - value
    text = "".join(bits)
    count = -(-len(text) // 8)
    return list(int(text.ljust(8 * count, "0"), 2).to_bytes(count, "big"))


def _run(length: int, value: int) -> str:
    kind = next(i for i, count in enumerate(_LENGTH_BITS) if length <= 1 << count)
    return f"1{kind:02b}{length - 1:0{_LENGTH_BITS[kind]}b}{value:0{_VALUE_BITS}b}"
