"""Edges of masks as signed distances, steadied in time, and mattes made of them.

An edge that jumps by a pixel or two from frame to frame flickers where pictures are composed along
it. The distance to the edge of the frame before is carried on by optical flow (DIS, Kroeger et al.
2016) and averaged with that of this frame, as far as both agree; where they do not, the object
itself has changed.
"""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.effects.base import Shot, Target
from tracker.types import ObjectResult

#: Distances beyond are not told apart, in pixels; the widest margin and feather end there.
REACH_PX = 48.0
_KEPT = 0.7  # of the distance of the frame before
_AGREES_PX = 4.0  # edges that lie farther apart are not averaged
_FLOW_WIDTH = 480  # of the pictures whose motion is looked for


class SteadyEdges:
    """Stage that adds the distances to shots; it keeps those of one frame."""

    def __init__(self, kept: float = _KEPT) -> None:
        """Keep this share of the distances before; 0 for none, each frame by itself."""
        self._kept = kept
        self._before: dict[int, NDArray[np.float32]] = {}
        self._grey_hw: NDArray[np.uint8] | None = None
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def push(self, shot: Shot) -> Iterator[Shot]:
        """The shot with its distances."""
        grey_hw = _small_grey(shot.image_hwc)
        now = {i.id: signed_distance(i) for i in shot.objects if i.box_xyxy is not None}
        if self._kept and self._grey_hw is not None and self._grey_hw.shape == grey_hw.shape:
            common = [i for i in now if i in self._before and self._before[i].shape == now[i].shape]
            if common:
                size = shot.image_hwc.shape[:2]
                places_hw2 = _places_before(self._flow, grey_hw, self._grey_hw, size)
                for object_id in common:
                    now[object_id] = self._averaged(object_id, now[object_id], places_hw2)
        self._before, self._grey_hw = now, grey_hw
        yield replace(shot, distances=now)

    def flush(self) -> Iterator[Shot]:
        """Nothing is held back."""
        return iter(())

    def _averaged(
        self, object_id: int, now_hw: NDArray[np.float32], places_hw2: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        before_hw = cv2.remap(
            self._before[object_id],
            np.ascontiguousarray(places_hw2[..., 0]),
            np.ascontiguousarray(places_hw2[..., 1]),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        apart_hw = np.abs(before_hw - now_hw)
        kept_hw = self._kept * np.clip(2 - apart_hw / _AGREES_PX, 0, 1)
        return np.asarray(now_hw + kept_hw * (before_hw - now_hw), np.float32)


def signed_distance(item: ObjectResult) -> NDArray[np.float32]:
    """Distance to the edge of a mask in pixels, float32 [H, W]: positive inside, to `REACH_PX`."""
    height, width = item.mask_hw.shape
    distance_hw = np.full((height, width), -REACH_PX, np.float32)
    if item.box_xyxy is None:
        return distance_hw
    x0, y0, x1, y1 = item.box_xyxy
    reach = int(REACH_PX)
    rows = slice(max(0, y0 - reach), min(height, y1 + reach))
    columns = slice(max(0, x0 - reach), min(width, x1 + reach))
    mask_hw = item.mask_hw[rows, columns].astype(np.uint8)
    # Outside of the picture nobody knows: an object that is cut off goes on there.
    inside = cv2.distanceTransform(mask_hw, cv2.DIST_L2, 3)
    outside = cv2.distanceTransform(1 - mask_hw, cv2.DIST_L2, 3)
    signed = np.where(mask_hw > 0, inside - 0.5, 0.5 - outside)
    distance_hw[rows, columns] = np.clip(signed, -REACH_PX, REACH_PX)
    return distance_hw


def matte(
    shot: Shot, target: Target, feather_px: float, margin_px: float = 0.0
) -> NDArray[np.float32]:
    """How much of each pixel belongs to the target's objects, float32 [H, W], 0 to 1.

    Args:
        shot: With its distances.
        target: Whose `is_rest` is left aside.
        feather_px: Width of the soft edge, half of it on either side.
        margin_px: How far beyond its edge an object reaches.
    """
    alpha_hw = np.zeros(shot.image_hwc.shape[:2], np.float32)
    margin_px = min(margin_px, REACH_PX - feather_px)
    for object_id, distance_hw in shot.distances.items():
        if target.has(object_id):
            soft_hw = np.clip(0.5 + (distance_hw + margin_px) / max(feather_px, 1e-3), 0, 1)
            np.maximum(alpha_hw, soft_hw, out=alpha_hw)
    return alpha_hw


def feather_px(height: int, width: int) -> float:
    """Width of a soft edge that looks the same at any size: 1/400 of the longer side."""
    return max(1.5, max(height, width) / 400)


def composed(
    below_hwc: NDArray[np.uint8], above_hwc: NDArray[np.uint8], alpha_hw: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """`above_hwc` over `below_hwc` by the matte of the upper one; channels beyond three stay."""
    result_hwc = below_hwc.copy()
    rows, columns = np.flatnonzero(alpha_hw.any(axis=1)), np.flatnonzero(alpha_hw.any(axis=0))
    if not len(rows):
        return result_hwc
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    weight_hw1 = alpha_hw[part][..., None]
    below, above = below_hwc[part][..., :3], above_hwc[part][..., :3]
    mixed = below + (above.astype(np.float32) - below) * weight_hw1
    result_hwc[part][..., :3] = np.rint(mixed).astype(np.uint8)
    return result_hwc


def _small_grey(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image_hwc.shape[:2]
    scale = min(1.0, _FLOW_WIDTH / width)
    size_wh = (max(16, round(width * scale)), max(16, round(height * scale)))
    small = cv2.resize(image_hwc[..., :3], size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def _places_before(
    flow: cv2.DISOpticalFlow,
    now_hw: NDArray[np.uint8],
    before_hw: NDArray[np.uint8],
    size_hw: tuple[int, ...],
) -> NDArray[np.float32]:
    """Where each pixel of a picture of `size_hw` was on the frame before: x, y, [H, W, 2]."""
    height, width = size_hw
    motion = flow.calc(now_hw, before_hw, None)  # type: ignore[call-overload]
    scale = np.array([width / now_hw.shape[1], height / now_hw.shape[0]], np.float32)
    motion = cv2.resize(motion, (width, height), interpolation=cv2.INTER_LINEAR) * scale
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(motion + np.stack([x, y], axis=2), np.float32)
