"""Effects that show part of the picture in another style, along a soft and steady edge."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.effects.base import Shot, Target
from tracker.effects.edges import composed, feather_px, matte

#: Makes the whole picture in the style, uint8 RGB [H, W, 3].
Restyle = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

_BLOCKS = 40  # along the longer side: all that is left of what is hidden
_MARGIN = 1 / 100  # of the longer side, around what is hidden
_DIMMED = 0.25  # of the light, outside of the spotlight


class RegionStage:
    """Stage that shows objects, or everything else, in a style."""

    def __init__(
        self, restyle: Restyle, target: Target, *, outside: bool = False, hides: bool = False
    ) -> None:
        """Take the style.

        Args:
            restyle: It.
            target: The objects, or the rest.
            outside: The style is for what is around the target.
            hides: Nothing of an object may be seen: a margin around the mask, as it is on this
                frame, is in the style as well.
        """
        self._restyle = restyle
        self._target = target
        self._outside = outside != target.is_rest
        self._hides = hides and not self._outside

    def push(self, shot: Shot) -> Iterator[Shot]:
        """The shot in its style."""
        height, width = shot.image_hwc.shape[:2]
        feather = feather_px(height, width)
        margin = max(1.0, max(height, width) * _MARGIN) if self._hides else 0.0
        alpha_hw = matte(shot, self._target, feather, max(0.0, margin - feather / 2))
        if self._hides:
            _cover(alpha_hw, shot, self._target, margin)
        if self._outside:
            alpha_hw = 1 - alpha_hw
        if not alpha_hw.any():
            yield replace(shot, image_hwc=shot.image_hwc.copy())
            return
        styled_hwc = self._restyle(np.ascontiguousarray(shot.image_hwc[..., :3]))
        yield replace(shot, image_hwc=composed(shot.image_hwc, styled_hwc, alpha_hw))

    def flush(self) -> Iterator[Shot]:
        """Nothing is held back."""
        return iter(())


def _cover(alpha_hw: NDArray[np.float32], shot: Shot, target: Target, margin_px: float) -> None:
    """Make the matte whole where a mask of this frame is, and half of the margin around it."""
    mask_hw = np.zeros(alpha_hw.shape, np.uint8)
    for item in shot.objects:
        if target.has(item.id):
            mask_hw |= item.mask_hw
    side = 2 * max(1, int(margin_px / 2)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    alpha_hw[cv2.dilate(mask_hw, kernel) > 0] = 1


def blurred(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture averaged over blocks and interpolated, so that no detail is left to sharpen."""
    height, width = image_hwc.shape[:2]
    blocks_hwc = cv2.resize(image_hwc, _blocks_wh(height, width), interpolation=cv2.INTER_AREA)
    result = cv2.resize(blocks_hwc, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(result, np.uint8)


def pixelated(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture in blocks of their mean colour."""
    height, width = image_hwc.shape[:2]
    blocks_hwc = cv2.resize(image_hwc, _blocks_wh(height, width), interpolation=cv2.INTER_AREA)
    result = cv2.resize(blocks_hwc, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(result, np.uint8)


def dimmed(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with a quarter of its light."""
    return np.asarray(np.rint(image_hwc * np.float32(_DIMMED)), np.uint8)


def grey(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture without colours."""
    lightness_hw = cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(lightness_hw, cv2.COLOR_GRAY2RGB), np.uint8)


def _blocks_wh(height: int, width: int) -> tuple[int, int]:
    block = max(1, -(-max(height, width) // _BLOCKS))
    return max(1, width // block), max(1, height // block)
