"""Points of objects that stand for them: of the box, or the centroid of the mask."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.protocol.fields import XY, Anchor
from tracker.types import ObjectResult, ObjectState

Box = tuple[int, int, int, int]
_ABSENT = (ObjectState.OCCLUDED, ObjectState.LOST)
# Parts of the width and height of the box, from its left and top edge.
_OF_BOX: dict[Anchor, XY] = {
    Anchor.CENTER: (0.5, 0.5),
    Anchor.CENTER_LEFT: (0.0, 0.5),
    Anchor.CENTER_RIGHT: (1.0, 0.5),
    Anchor.TOP_CENTER: (0.5, 0.0),
    Anchor.TOP_LEFT: (0.0, 0.0),
    Anchor.TOP_RIGHT: (1.0, 0.0),
    Anchor.BOTTOM_LEFT: (0.0, 1.0),
    Anchor.BOTTOM_CENTER: (0.5, 1.0),
    Anchor.BOTTOM_RIGHT: (1.0, 1.0),
}


def anchor_of(obj: ObjectResult, anchor: Anchor) -> XY | None:
    """The anchor (x, y) of an object in pixels; None where it is not in sight on this frame."""
    box = shown_box(obj)
    if box is None or not obj.fresh:
        return None
    if anchor is Anchor.CENTER_OF_MASS:
        _, centroid = area_and_centroid(obj.mask_hw, box)
        return centroid
    x0, y0, x1, y1 = box
    part_x, part_y = _OF_BOX[anchor]
    return x0 + part_x * (x1 - x0), y0 + part_y * (y1 - y0)


def shown_box(obj: ObjectResult) -> Box | None:
    """Edges of the box of an object in sight; None for one that is not."""
    return None if obj.state in _ABSENT else obj.box_xyxy


def area_and_centroid(mask_hw: NDArray[np.bool_], box: Box) -> tuple[int, XY]:
    """Pixels of a mask and the mean (x, y) of their centres, by the sums of columns and rows.

    The centre of the first pixel is at (0.5, 0.5), since boxes are edges.
    """
    x0, y0, x1, y1 = box
    crop_hw = mask_hw[y0:y1, x0:x1].view(np.uint8)
    columns_w = cv2.reduce(crop_hw, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
    rows_h = cv2.reduce(crop_hw, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0]
    area = int(columns_w.sum())
    x = float(columns_w @ np.arange(x0, x1)) / area + 0.5
    y = float(rows_h @ np.arange(y0, y1)) / area + 0.5
    return area, (x, y)
