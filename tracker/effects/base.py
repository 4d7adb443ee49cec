"""Interface of effects, and the row that an effect has in the registry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracker.types import ObjectResult


class Effect(Protocol):
    """Draws objects on pictures of one size."""

    def draw(
        self, image_hwc: NDArray[np.uint8], objects: Sequence[ObjectResult], /
    ) -> NDArray[np.uint8]:
        """A new RGB uint8 picture [H, W, 3]; `image_hwc` stays as it is.

        An object has its mask, its state and its scores; one that is not to be seen has no box.
        """


@dataclass(frozen=True, slots=True)
class EffectSpec:
    """Registry row of an effect.

    Attributes:
        name: As in `--effect NAME`.
        help: What it draws, in a few words.
        make: Makes it for pictures of a height and a width, in pixels.
    """

    name: str
    help: str
    make: Callable[[int, int], Effect]
