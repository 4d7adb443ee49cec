"""COCO run-length encoding (RLE) of masks, as files and messages carry it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tracker.errors import PromptError

MAX_SIDE_PX = 16384
_MAX_CHUNKS_PER_RUN = 7


@dataclass(frozen=True, slots=True)
class Rle:
    """One mask in COCO's compressed run-length encoding.

    Attributes:
        height: Rows of the mask.
        width: Columns of the mask.
        counts: Run lengths down the columns, background first, in COCO's text form.
    """

    height: int
    width: int
    counts: str


def encode_rle(mask_hw: NDArray[np.bool_]) -> Rle:
    """Compress a bool mask [H, W]."""
    encoded = coco_mask.encode(np.asfortranarray(mask_hw, dtype=np.uint8))
    height, width = mask_hw.shape
    return Rle(height, width, encoded["counts"].decode("ascii"))


def decode_rle(rle: Rle) -> NDArray[np.bool_]:
    """Expand to a bool mask [H, W].

    Raises:
        PromptError: The counts are not COCO run lengths, or do not fill the stated size.
    """
    runs = _read_runs(rle.counts)
    if not (0 < rle.height <= MAX_SIDE_PX and 0 < rle.width <= MAX_SIDE_PX):
        raise PromptError(f"RLE mask of {rle.width}x{rle.height} pixels", "check its size")
    if sum(runs) != rle.height * rle.width:
        raise PromptError(
            f"RLE mask counts {sum(runs)} pixels, its size {rle.width}x{rle.height} needs "
            f"{rle.height * rle.width}",
            "give size as [height, width] with the counts that belong to it",
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(rle.width, rle.height).T)


def _read_runs(counts: str) -> list[int]:
    """Run lengths of COCO's text form: base 32, low digits first, coded as differences."""
    runs: list[int] = []
    value, chunks = 0, 0
    for character in counts:
        chunk = ord(character) - 48
        if not 0 <= chunk < 64 or chunks == _MAX_CHUNKS_PER_RUN:
            raise PromptError(f"RLE counts hold {character!r}", "give COCO compressed counts")
        value |= (chunk & 0x1F) << (5 * chunks)
        chunks += 1
        if chunk & 0x20:
            continue
        if chunk & 0x10:
            value -= 1 << (5 * chunks)
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            raise PromptError("RLE counts hold a negative run", "give COCO compressed counts")
        runs.append(value)
        value, chunks = 0, 0
    if chunks or not runs:
        raise PromptError("RLE counts end in the middle of a run", "give COCO compressed counts")
    return runs
