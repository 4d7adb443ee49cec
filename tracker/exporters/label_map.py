"""Label maps: one object id per pixel, which formats of indexed pictures hold."""

import math

import numpy as np
from numpy.typing import NDArray

from tracker.types import ObjectResult, TrackResult


def label_map(result: TrackResult, height: int, width: int) -> NDArray[np.uint16]:
    """Ids per pixel, uint16 [H, W], 0 where there is no object.

    Where masks overlap, the object with the higher score is on top; with equal scores the one
    with the better predicted mask, then the one with the lower id.
    """
    ids_hw = np.zeros((height, width), np.uint16)
    for item in sorted(result.objects, key=_rank):
        ids_hw[item.mask_hw] = item.id
    return ids_hw


def _rank(item: ObjectResult) -> tuple[float, float, int]:
    quality = 0.0 if math.isnan(item.iou) else item.iou
    return item.score, quality, -item.id


class OverlapCounter:
    """Counts the pixels of several objects, of which a label map holds one."""

    def __init__(self, format_name: str) -> None:
        """Count for a format of this name."""
        self._format_name = format_name
        self._pixels = 0
        self._frames = 0

    def add(self, result: TrackResult, ids_hw: NDArray[np.uint16]) -> None:
        """Count the overlaps of a frame whose label map is `ids_hw`."""
        seen = [item for item in result.objects if item.box_xyxy is not None]
        if len(seen) < 2:
            return
        lost = sum(int(np.count_nonzero(item.mask_hw)) for item in seen) - int(
            np.count_nonzero(ids_hw)
        )
        self._pixels += lost
        self._frames += lost > 0

    @property
    def notes(self) -> tuple[str, ...]:
        """A line where there were any."""
        if not self._pixels:
            return ()
        frames = "1 frame" if self._frames == 1 else f"{self._frames} frames"
        return (
            f"{self._format_name} holds one object a pixel: of {self._pixels} overlapping pixels "
            f"on {frames} the object with the higher score is kept; coco keeps all",
        )
