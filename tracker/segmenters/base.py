"""Interface of promptable segmenters, and the row that a segmenter has in the registry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from tracker.types import Prompt

if TYPE_CHECKING:
    from tracker.models import Model


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Masks of one picture, one for each prompt, in their order.

    Attributes:
        masks_nhw: bool [N, H, W]; empty where nothing was found.
        scores_n: float32 [N], the segmenter's own estimate of each mask's quality, 0..1.
    """

    masks_nhw: NDArray[np.bool_]
    scores_n: NDArray[np.float32]

    @classmethod
    def empty(cls, count: int, height: int, width: int) -> "Segmentation":
        """Nothing found for so many prompts; masks and scores are filled in."""
        masks_nhw = np.zeros((count, height, width), np.bool_)
        return cls(masks_nhw, np.zeros(count, np.float32))


class Segmenter(Protocol):
    """Segments single pictures; knows nothing of the ones before."""

    def segment(self, image_hwc: NDArray[np.uint8], prompts: Sequence[Prompt], /) -> Segmentation:
        """The object of each prompt, by its points and box, on an RGB uint8 picture [H, W, 3]."""


@dataclass(frozen=True, slots=True)
class SegmenterSpec:
    """Registry row of a segmenter.

    Attributes:
        name: As in `--segmenter NAME`.
        help: What it is, in a few words.
        make: Makes it; it may use the model that tracks, or the device of that.
    """

    name: str
    help: str
    make: "Callable[[Model], Segmenter]"
