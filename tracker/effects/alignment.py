"""Alignment of frames by homographies: corners tracked by Lucas and Kanade's method, RANSAC.

What moves by itself tells nothing of the camera, so corners on objects are left out. Homographies
are those of small pictures, in pixels of these.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.effects.base import Shot, Target
from tracker.effects.edges import matte

_CORNERS = 500
_TRACK_WIDTH = 640  # of the pictures whose corners are tracked
_MIN_MATCHES = 12
_SAME = 2  # of 255, the median difference of pictures that look the same

Homography = NDArray[np.float64]
Part = tuple[slice, slice]
"""Rows and columns of a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A frame and what alignment needs of it.

    Attributes:
        shot: The frame.
        hole_hw: 1 where it does not show what is behind, uint8 [H, W].
        grey_hw: The small picture, uint8.
        corners: Its corners beside all objects, float32 [n, 1, 2].
        to_next: How it maps to the next frame; None where that is not known.
    """

    shot: Shot
    hole_hw: NDArray[np.uint8]
    grey_hw: NDArray[np.uint8]
    corners: NDArray[np.float32]
    to_next: Homography | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all that it holds."""
        arrays = (self.hole_hw, self.grey_hw, self.corners)
        return self.shot.nbytes + sum(array.nbytes for array in arrays)


def view_of(shot: Shot, target: Target, margin_px: float) -> View:
    """The view of a shot whose hole is the target's objects and a margin."""
    height, width = shot.image_hwc.shape[:2]
    hole_hw = (matte(shot, target, 1.0, margin_px) > 0).astype(np.uint8)
    still_hw = (matte(shot, Target(), 1.0, margin_px) == 0).astype(np.uint8)
    scale = min(1.0, _TRACK_WIDTH / width)
    small_wh = (max(16, round(width * scale)), max(16, round(height * scale)))
    small = cv2.resize(shot.image_hwc[..., :3], small_wh, interpolation=cv2.INTER_AREA)
    grey_hw = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    where = cv2.resize(still_hw, small_wh, interpolation=cv2.INTER_NEAREST)
    corners = cv2.goodFeaturesToTrack(grey_hw, _CORNERS, 0.005, 7, mask=where)
    found = np.zeros((0, 1, 2), np.float32) if corners is None else corners
    return View(shot, hole_hw, grey_hw, np.asarray(found, np.float32))


def homography(first: View, second: View, guess: Homography | None) -> Homography | None:
    """How points of the first view map to the second; None where too few agree.

    A picture without corners maps to itself, where both look the same.
    """
    if len(first.corners) < _MIN_MATCHES:
        apart_hw = cv2.absdiff(first.grey_hw, second.grey_hw)
        return np.eye(3) if np.median(apart_hw) <= _SAME else None
    begin = first.corners
    start = begin if guess is None else cv2.perspectiveTransform(begin, guess)
    ends, found, _ = cv2.calcOpticalFlowPyrLK(
        first.grey_hw,
        second.grey_hw,
        begin,
        np.asarray(start, np.float32).copy(),
        winSize=(21, 21),
        maxLevel=3,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    good = found.ravel() > 0
    if good.sum() < _MIN_MATCHES:
        return None
    matrix, inliers = cv2.findHomography(begin[good], ends[good], cv2.RANSAC, 1.5)
    if matrix is None or inliers.sum() < _MIN_MATCHES:
        return None
    return np.asarray(matrix, np.float64)


def warped(
    other: View, to_other: Homography, part: Part
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A part of a frame as another view saw it, and where that one shows what is behind.

    Args:
        other: A view of a frame of the same size.
        to_other: How the frame maps to it.
        part: Of the frame.
    """
    height, width = other.hole_hw.shape
    scale = np.diag([other.grey_hw.shape[1] / width, other.grey_hw.shape[0] / height, 1.0])
    corner = np.array([[1, 0, part[1].start], [0, 1, part[0].start], [0, 0, 1]], np.float64)
    matrix = np.linalg.inv(scale) @ to_other @ scale @ corner
    size_wh = (part[1].stop - part[1].start, part[0].stop - part[0].start)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    colours_hwc = cv2.warpPerspective(other.shot.image_hwc[..., :3], matrix, size_wh, flags=flags)
    hidden_hw = cv2.warpPerspective(
        other.hole_hw, matrix, size_wh, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=1
    )
    return np.asarray(colours_hwc, np.uint8), np.asarray(hidden_hw == 0, np.bool_)


def around(hole_hw: NDArray[np.uint8], margin_px: int) -> Part:
    """The box of a hole and a margin."""
    rows, columns = np.flatnonzero(hole_hw.any(axis=1)), np.flatnonzero(hole_hw.any(axis=0))
    height, width = hole_hw.shape
    return (
        slice(max(0, int(rows[0]) - margin_px), min(height, int(rows[-1]) + 1 + margin_px)),
        slice(max(0, int(columns[0]) - margin_px), min(width, int(columns[-1]) + 1 + margin_px)),
    )


def light_shift(
    other_hwc: NDArray[np.uint8], here_hwc: NDArray[np.uint8], ring_hw: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Mean difference of two pictures around a hole, float32 [3]: the light of this frame."""
    if not ring_hw.any():
        return np.zeros(3, np.float32)
    here_c = here_hwc[ring_hw].astype(np.float32).mean(axis=0)
    return np.asarray(here_c - other_hwc[ring_hw].astype(np.float32).mean(axis=0), np.float32)
