"""Blurred objects: a low-pass of the picture inside the masks, for privacy."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.types import ObjectResult

_BLOCKS = 40  # along the longer side: all that is left of an object
_MARGIN = 1 / 100  # of the longer side, around the masks


class Blur:
    """Blurs what the masks cover and a margin around them.

    The picture is averaged over blocks, a fortieth of its longer side each, and interpolated, so
    that no detail is left to sharpen. An object without a mask on a frame is not blurred there.
    """

    def __init__(self, height: int, width: int) -> None:
        """Choose blocks and margin for pictures of `height` x `width` pixels."""
        block = max(1, -(-max(height, width) // _BLOCKS))
        self._blocks_wh = (max(1, width // block), max(1, height // block))
        margin = max(1, round(max(height, width) * _MARGIN))
        side = 2 * margin + 1
        self._kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))

    def draw(
        self, image_hwc: NDArray[np.uint8], objects: Sequence[ObjectResult]
    ) -> NDArray[np.uint8]:
        """A copy of the RGB frame [H, W, 3] with every visible object blurred."""
        picture_hwc = image_hwc.copy()
        height, width = image_hwc.shape[:2]
        mask_hw = np.zeros((height, width), np.uint8)
        for item in objects:
            mask_hw |= item.mask_hw
        if not mask_hw.any():
            return picture_hwc
        hidden_hw = cv2.dilate(mask_hw, self._kernel).astype(np.bool_)
        blocks_hwc = cv2.resize(image_hwc, self._blocks_wh, interpolation=cv2.INTER_AREA)
        blurred_hwc = cv2.resize(blocks_hwc, (width, height), interpolation=cv2.INTER_LINEAR)
        picture_hwc[hidden_hw] = blurred_hwc[hidden_hw]
        return picture_hwc
