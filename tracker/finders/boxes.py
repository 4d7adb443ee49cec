"""Overlap of boxes and of proposals with objects."""

import numpy as np
from numpy.typing import NDArray

from tracker.finders.base import BoxXyxy


def box_area(box_xyxy: BoxXyxy) -> float:
    """Pixels of a box."""
    x0, y0, x1, y1 = box_xyxy
    return max(0.0, x1 - x0) * max(0.0, y1 - y0)


def box_intersection(first_xyxy: BoxXyxy, second_xyxy: BoxXyxy) -> BoxXyxy:
    """The box that two have in common; one without area where there is none."""
    return (
        max(first_xyxy[0], second_xyxy[0]),
        max(first_xyxy[1], second_xyxy[1]),
        min(first_xyxy[2], second_xyxy[2]),
        min(first_xyxy[3], second_xyxy[3]),
    )


def box_iou(first_xyxy: BoxXyxy, second_xyxy: BoxXyxy) -> float:
    """Intersection over union of two boxes."""
    inside = box_area(box_intersection(first_xyxy, second_xyxy))
    union = box_area(first_xyxy) + box_area(second_xyxy) - inside
    return inside / union if union > 0 else 0.0


def mask_iou(first_hw: NDArray[np.bool_], second_hw: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one size; 0 where both are empty."""
    union = np.count_nonzero(first_hw | second_hw)
    return np.count_nonzero(first_hw & second_hw) / union if union else 0.0


def padded_box(box_xyxy: BoxXyxy, padding: float, height: int, width: int) -> BoxXyxy:
    """A box grown by a share of its size on each side, cut to the picture."""
    x0, y0, x1, y1 = box_xyxy
    dx, dy = padding * (x1 - x0), padding * (y1 - y0)
    return (
        max(0.0, x0 - dx),
        max(0.0, y0 - dy),
        min(float(width), x1 + dx),
        min(float(height), y1 + dy),
    )
