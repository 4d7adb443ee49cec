"""Measures of objects in messages: shape, rotated box, velocity and predicted box."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.daemon.tracking.anchors import Box, area_and_centroid, shown_box
from tracker.daemon.tracking.motion import Motion
from tracker.protocol.data import PredictedBox, RotatedBox, Velocity
from tracker.protocol.fields import MeasureSettings
from tracker.types import ObjectResult

_CORNERS_42 = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)  # of a pixel


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures that are sent of the objects on a frame.

    Attributes:
        settings: Which.
        motions: Velocities by object id.
        captured_ns: Of the frame.
        ahead_s: Seconds from its arrival to now, which boxes are predicted for.
    """

    settings: MeasureSettings
    motions: Mapping[int, Motion] = field(default_factory=dict)
    captured_ns: int = 0
    ahead_s: float = 0.0

    def of(self, objects: Iterable[ObjectResult]) -> dict[int, dict[str, Any]]:
        """Fields of the `ObjectMessage` of each object, by its id."""
        return {item.id: self._of(item, shown_box(item)) for item in objects}

    def _of(self, item: ObjectResult, box: Box | None) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.settings.shape and box is not None:
            area, (x, y) = area_and_centroid(item.mask_hw, box)
            found |= {"area": area, "centroid": (round(x, 2), round(y, 2))}
        if self.settings.rotated_box and box is not None:
            found["rotated_box"] = rotated_box(item.mask_hw, box)
        motion = self.motions.get(item.id)
        if motion is None:
            return found
        if self.settings.velocity:
            age_ms = round((self.captured_ns - motion.observed_ns) / 1e6, 3)
            found["velocity"] = Velocity(x=round(motion.x, 2), y=round(motion.y, 2), age_ms=age_ms)
        if self.settings.prediction and box is not None:
            found["predicted"] = self._predicted(motion, box)
        return found

    def _predicted(self, motion: Motion, box: Box) -> PredictedBox:
        dx, dy = motion.x * self.ahead_s, motion.y * self.ahead_s
        x0, y0, x1, y1 = box
        edges = (x0 + dx, y0 + dy, x1 + dx, y1 + dy)
        x0_now, y0_now, x1_now, y1_now = (round(edge, 2) for edge in edges)
        ahead_ms = round(1000 * self.ahead_s, 3)
        return PredictedBox(box=(x0_now, y0_now, x1_now, y1_now), ahead_ms=ahead_ms)


def rotated_box(mask_hw: NDArray[np.bool_], box: Box) -> RotatedBox:
    """Rectangle of least area around the pixels of a mask, by rotating calipers on their hull."""
    x0, y0, x1, y1 = box
    crop_hw = np.ascontiguousarray(mask_hw[y0:y1, x0:x1]).view(np.uint8)
    contours, _ = cv2.findContours(
        crop_hw, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x0, y0)
    )
    hull_n12 = cv2.convexHull(np.concatenate(contours)).astype(np.float32)
    (x, y), (width, height), angle = cv2.minAreaRect((hull_n12 + _CORNERS_42).reshape(-1, 2))
    return RotatedBox(
        center=(round(x, 2), round(y, 2)),
        size=(round(width, 2), round(height, 2)),
        angle_deg=round(angle, 2),
    )
