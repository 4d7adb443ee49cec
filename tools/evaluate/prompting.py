"""Prompts made from a true mask, as a careful person would draw them."""

from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.types import Prompt

OBJECT_ID = 1


class PromptKind(StrEnum):
    """Kind of prompt that shows the object on the first frame."""

    MASK = "mask"
    BOX = "box"
    POINT = "point"


def prompt_from_mask(
    mask_hw: NDArray[np.bool_], kind: PromptKind, object_id: int = OBJECT_ID
) -> Prompt:
    """The mask itself, its tight box, or one click on its innermost pixel.

    The mask is bool [H, W] with at least one pixel set.
    """
    match kind:
        case PromptKind.MASK:
            return Prompt(object_id, mask_hw=mask_hw)
        case PromptKind.BOX:
            return Prompt(object_id, box_xyxy=_tight_box(mask_hw))
        case PromptKind.POINT:
            return Prompt(object_id, points_xy=(_innermost_xy(mask_hw),), point_labels=(1,))


def _tight_box(mask_hw: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    columns = np.flatnonzero(mask_hw.any(axis=0))
    rows = np.flatnonzero(mask_hw.any(axis=1))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def _innermost_xy(mask_hw: NDArray[np.bool_]) -> tuple[float, float]:
    """The pixel farthest from the outside; the image border is no outside."""
    if mask_hw.all():
        height, width = mask_hw.shape
        return (float(width // 2), float(height // 2))
    distance_px = cv2.distanceTransform(
        mask_hw.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    y, x = np.unravel_index(int(distance_px.argmax()), distance_px.shape)
    return (float(x), float(y))
