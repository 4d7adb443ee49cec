"""Effect that pixelates the objects: blocks of one colour in place of what the masks cover.

A package offers it with these lines of its pyproject.toml, and then
`trackd track clip.mp4 --box 1:120,80,340,400 --out out.mp4 --effect pixelate` draws it:

    [project.entry-points."trackd.effects"]
    pixelate = "pixelate:PIXELATE"
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracker.effects.base import EffectSpec
from tracker.types import ObjectResult

_BLOCKS = 40  # along the longer side


class Pixelate:
    """Gives all pixels of a block the colour of its first one."""

    def __init__(self, height: int, width: int) -> None:
        """Choose blocks for pictures of `height` x `width` pixels."""
        self._side = max(1, max(height, width) // _BLOCKS)

    def draw(
        self, image_hwc: NDArray[np.uint8], objects: Sequence[ObjectResult]
    ) -> NDArray[np.uint8]:
        """A copy of the RGB frame [H, W, 3] with every visible object pixelated."""
        height, width = image_hwc.shape[:2]
        blocks_hwc = image_hwc[:: self._side, :: self._side]
        blocks_hwc = blocks_hwc.repeat(self._side, axis=0).repeat(self._side, axis=1)
        picture_hwc = image_hwc.copy()
        for item in objects:
            picture_hwc[item.mask_hw] = blocks_hwc[:height, :width][item.mask_hw]
        return picture_hwc


PIXELATE = EffectSpec("pixelate", "the objects in blocks of one colour", Pixelate)
