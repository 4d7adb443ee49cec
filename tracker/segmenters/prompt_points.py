"""Prompts as the points and labels of SAM's prompt encoder."""

import numpy as np
from numpy.typing import NDArray

from tracker.models.base import BOX_CORNER_LABELS
from tracker.types import Prompt


def prompt_points(prompt: Prompt) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points [K, 2] in pixels of the picture and labels [K], those of a box's corners first."""
    points, labels = list(prompt.points_xy), list(prompt.point_labels)
    if prompt.box_xyxy is not None:
        x0, y0, x1, y1 = prompt.box_xyxy
        points = [(x0, y0), (x1, y1), *points]
        labels = [*BOX_CORNER_LABELS, *labels]
    return np.array(points, np.float32), np.array(labels, np.float32)
