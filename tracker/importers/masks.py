"""Masks from polygons and run lengths of other programs."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tracker.errors import PromptError
from tracker.rle import MAX_SIDE_PX, Rle, decode_rle, encode_rle

_CORNERS = 3


def check_size(height: int, width: int, where: str) -> None:
    """Check the size of a picture.

    Raises:
        PromptError: It is empty or too large.
    """
    if not (0 < height <= MAX_SIDE_PX and 0 < width <= MAX_SIDE_PX):
        raise PromptError(f"{where}: a picture of {width}x{height} pixels", "check its size")


def filled(
    rings: Sequence[Sequence[float]], height: int, width: int, where: str
) -> NDArray[np.bool_]:
    """Pixels inside of any polygon, by the even-odd rule at their centres (pycocotools).

    Args:
        rings: Points of each polygon, x0, y0, x1, y1, ..., in pixels.
        height: Of the picture.
        width: Of the picture.
        where: What the polygons belong to, for errors.

    Raises:
        PromptError: One is none, or lies far outside of the picture.
    """
    check_size(height, width, where)
    for ring in rings:
        if len(ring) < 2 * _CORNERS or len(ring) % 2:
            raise PromptError(f"{where}: a polygon of {len(ring)} numbers", "give x,y per corner")
        for value, side in zip(ring, (width, height) * (len(ring) // 2), strict=True):
            if not math.isfinite(value) or not -side <= value <= 2 * side:
                raise PromptError(
                    f"{where}: a polygon's corner at {value:g}", f"the picture is {width}x{height}"
                )
    mask_hw = np.zeros((height, width), np.bool_)
    for ring in rings:
        rles = coco_mask.frPyObjects([[float(value) for value in ring]], height, width)
        mask_hw |= np.asarray(coco_mask.decode(rles)[..., 0], np.bool_)
    return mask_hw


def from_runs(runs: Sequence[int], height: int, width: int, where: str) -> NDArray[np.bool_]:
    """Mask [H, W] from run lengths along the rows, background first.

    Raises:
        PromptError: They do not fill the size.
    """
    check_size(height, width, where)
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise PromptError(
            f"{where}: run lengths of {sum(runs)} pixels, its size is {width}x{height}",
            "check the mask",
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(height, width)


def from_coco(counts: str | Sequence[int], height: int, width: int, where: str) -> Rle:
    """A mask from COCO's run lengths, compressed or not.

    Raises:
        PromptError: They are not, or do not fill the size.
    """
    if isinstance(counts, str):
        rle = Rle(height, width, counts)
        try:
            decode_rle(rle)
        except PromptError as error:
            raise PromptError(f"{where}: {error.message}", error.hint) from error
        return rle
    return encode_rle(np.ascontiguousarray(from_runs(counts, width, height, where).T))
