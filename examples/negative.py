"""Effect that shows the objects as in a photographic negative.

A package offers it with these lines of its pyproject.toml, and then
`trackd track clip.mp4 --box 1:120,80,340,400 --out out.mp4 --effect negative` draws it:

    [project.entry-points."trackd.effects"]
    negative = "negative:NEGATIVE"
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracker.effects.base import EffectSpec
from tracker.types import ObjectResult


class Negative:
    """Inverts the light of what the masks cover."""

    def __init__(self, height: int, width: int) -> None:
        """Nothing depends on the size, `height` x `width` pixels."""

    def draw(
        self, image_hwc: NDArray[np.uint8], objects: Sequence[ObjectResult]
    ) -> NDArray[np.uint8]:
        """A copy of the RGB frame [H, W, 3] with every visible object inverted."""
        picture_hwc = image_hwc.copy()
        for item in objects:
            picture_hwc[item.mask_hw] = 255 - image_hwc[item.mask_hw]
        return picture_hwc


NEGATIVE = EffectSpec("negative", "the objects as in a negative", Negative)
