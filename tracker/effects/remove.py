"""Removal of objects: what was behind them is taken from other frames of the video.

Frames before and after are aligned to this one by homographies (corners tracked by Lucas and
Kanade's method, RANSAC), outside of all objects. Where several saw a hidden pixel, colours near
their median are averaged, those near in time for more, after light is matched around the hole.
What no frame saw is filled by OpenCV's inpainting (Telea 2004).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.effects.base import EffectRequest, Shot
from tracker.effects.edges import composed, feather_px, matte

_MAX_BYTES = 384 * 1024 * 1024  # of frames that are held, with their masks
_OFFSETS = (3, 7, 13, 21, 32, 45)  # of the frames that are looked at, before and after
_MARGIN = 1 / 90  # of the longer side, around the masks: shadows and soft edges
_RING_PX = 12  # around the hole, where light is matched
_CORNERS = 500
_TRACK_WIDTH = 640  # of the pictures whose corners are tracked
_MIN_MATCHES = 12
_INPAINT_PX = 5
_NEAR_MEDIAN = 14.0  # of 255

Homography = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A frame that is held: the shot, its hole, and what alignment needs of it."""

    shot: Shot
    hole_hw: NDArray[np.uint8]
    grey_hw: NDArray[np.uint8]
    corners: NDArray[np.float32]
    to_next: Homography | None

    @property
    def nbytes(self) -> int:
        """Bytes of all that it holds."""
        arrays = (self.hole_hw, self.grey_hw, self.corners)
        return self.shot.nbytes + sum(array.nbytes for array in arrays)


class RemoveStage:
    """Stage that fills objects with what is behind them; it looks ahead and back."""

    def __init__(self, request: EffectRequest) -> None:
        """Take the target."""
        self._target = request.target
        self._views: deque[_View] = deque()
        self._index = 0  # of the next one to give

    def push(self, shot: Shot) -> Iterator[Shot]:
        """The shots for which the frames after them are known."""
        if self._views and self._views[-1].shot.image_hwc.shape != shot.image_hwc.shape:
            yield from self.flush()  # frames of another size cannot be aligned
        view = self._view(shot)
        if self._views:
            last = self._views.pop()
            self._views.append(replace(last, to_next=_homography(last, view, None)))
        self._views.append(view)
        while _too_many(list(self._views)[self._index :]):
            yield self._next()

    def flush(self) -> Iterator[Shot]:
        """The rest."""
        while self._index < len(self._views):
            yield self._next()
        self._views.clear()
        self._index = 0

    def _view(self, shot: Shot) -> _View:
        height, width = shot.image_hwc.shape[:2]
        margin = max(height, width) * _MARGIN
        hole_hw = (matte(shot, self._target, 1.0, margin) > 0).astype(np.uint8)
        # Corners of objects that move by themselves tell nothing of the camera.
        still_hw = (matte(shot, type(self._target)(), 1.0, margin) == 0).astype(np.uint8)
        scale = min(1.0, _TRACK_WIDTH / width)
        small_wh = (max(16, round(width * scale)), max(16, round(height * scale)))
        small = cv2.resize(shot.image_hwc[..., :3], small_wh, interpolation=cv2.INTER_AREA)
        grey_hw = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        where = cv2.resize(still_hw, small_wh, interpolation=cv2.INTER_NEAREST)
        corners = cv2.goodFeaturesToTrack(grey_hw, _CORNERS, 0.005, 7, mask=where)
        found = np.zeros((0, 1, 2), np.float32) if corners is None else corners
        return _View(shot, hole_hw, grey_hw, np.asarray(found, np.float32), None)

    def _next(self) -> Shot:
        view = self._views[self._index]
        if view.hole_hw.any():
            done = self._filled(self._index, view)
        else:
            done = replace(view.shot, image_hwc=view.shot.image_hwc.copy())
        self._views[self._index] = replace(view, shot=view.shot.without_objects)
        self._index += 1
        while _too_many(list(self._views)[: self._index]):
            self._views.popleft()
            self._index -= 1
        return done

    def _filled(self, index: int, view: _View) -> Shot:
        image_hwc = np.ascontiguousarray(view.shot.image_hwc[..., :3])
        part = _around(view.hole_hw, _RING_PX)
        hole_hw = view.hole_hw[part] > 0
        patch = image_hwc[part].copy()
        samples, known, weights = [], [], []
        for other_index in self._others(index):
            seen = self._seen(index, other_index, part)
            if seen is None:
                continue
            colours_hwc, known_hw = seen
            colours_hwc = _lit_alike(colours_hwc, patch, known_hw & ~hole_hw)
            samples.append(colours_hwc[hole_hw])
            known.append(known_hw[hole_hw])
            weights.append(1 / abs(other_index - index))
        unseen_hw = hole_hw.astype(np.uint8)
        if samples:
            colours, seen_n = _robust_mean(np.stack(samples), np.stack(known), np.array(weights))
            unseen_hw[hole_hw] = ~seen_n
            patch[hole_hw] = np.rint(colours).clip(0, 255)
        if unseen_hw.any():
            patch = np.asarray(cv2.inpaint(patch, unseen_hw, _INPAINT_PX, cv2.INPAINT_TELEA))
        behind_hwc = image_hwc.copy()
        behind_hwc[part] = patch
        height, width = image_hwc.shape[:2]
        soft = feather_px(height, width)
        margin = max(height, width) * _MARGIN
        alpha_hw = matte(view.shot, self._target, soft, max(0.0, margin - soft / 2))
        return replace(view.shot, image_hwc=composed(view.shot.image_hwc, behind_hwc, alpha_hw))

    def _others(self, index: int) -> list[int]:
        near = [index + sign * offset for offset in _OFFSETS for sign in (-1, 1)]
        return [other for other in near if 0 <= other < len(self._views)]

    def _seen(
        self, index: int, other_index: int, part: tuple[slice, slice]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """Another frame as this one sees it in `part`, and where it shows no object."""
        here, other = self._views[index], self._views[other_index]
        guess = self._chained(index, other_index)
        small = _homography(here, other, guess)
        if small is None:
            return None
        height, width = here.shot.image_hwc.shape[:2]
        scale = np.diag([here.grey_hw.shape[1] / width, here.grey_hw.shape[0] / height, 1.0])
        corner = np.array([[1, 0, part[1].start], [0, 1, part[0].start], [0, 0, 1]], np.float64)
        to_other = np.linalg.inv(scale) @ small @ scale @ corner
        size_wh = (part[1].stop - part[1].start, part[0].stop - part[0].start)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        colours = cv2.warpPerspective(other.shot.image_hwc[..., :3], to_other, size_wh, flags=flags)
        hidden = cv2.warpPerspective(
            other.hole_hw, to_other, size_wh, flags=flags, borderMode=cv2.BORDER_CONSTANT,
            borderValue=1,
        )  # fmt: skip
        return np.asarray(colours, np.float32), np.asarray(hidden == 0, np.bool_)

    def _chained(self, index: int, other_index: int) -> Homography | None:
        """A guess of how a frame maps to another: from neighbour to neighbour."""
        total: Homography = np.eye(3)
        first, last = sorted((index, other_index))
        for view in list(self._views)[first:last]:
            if view.to_next is None:
                return None
            total = view.to_next @ total
        return total if index < other_index else np.asarray(np.linalg.inv(total), np.float64)


def _too_many(views: Sequence[_View]) -> bool:
    """True for more frames, before the one to fill or after it, than are looked at or have room."""
    if len(views) < 2:
        return False
    return len(views) > max(_OFFSETS) or 2 * sum(view.nbytes for view in views) > _MAX_BYTES


def _homography(first: _View, second: _View, guess: Homography | None) -> Homography | None:
    """How points of the first small picture map to the second; None where too few agree."""
    if len(first.corners) < _MIN_MATCHES:
        return None
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


def _around(hole_hw: NDArray[np.uint8], margin_px: int) -> tuple[slice, slice]:
    """The box of the hole and a margin, as rows and columns."""
    rows, columns = np.flatnonzero(hole_hw.any(axis=1)), np.flatnonzero(hole_hw.any(axis=0))
    height, width = hole_hw.shape
    return (
        slice(max(0, int(rows[0]) - margin_px), min(height, int(rows[-1]) + 1 + margin_px)),
        slice(max(0, int(columns[0]) - margin_px), min(width, int(columns[-1]) + 1 + margin_px)),
    )


def _robust_mean(
    colours_knc: NDArray[np.float32], known_kn: NDArray[np.bool_], weights_k: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Mean colour of each pixel over the frames that saw it, and whether any did.

    Only those whose lightness is near the median of all: what moved by itself, a leash or a shadow
    outside of the mask, is seen by few.
    """
    lightness_kn = np.where(known_kn, colours_knc.mean(axis=2), np.inf)
    middle_n = np.maximum(known_kn.sum(axis=0) - 1, 0) // 2
    median_n = np.take_along_axis(np.sort(lightness_kn, axis=0), middle_n[None], axis=0)[0]
    with np.errstate(invalid="ignore"):
        near_kn = known_kn & (np.abs(lightness_kn - median_n) <= _NEAR_MEDIAN)
    weights_kn = weights_k[:, None].astype(np.float32) * near_kn
    total_n = weights_kn.sum(axis=0)
    mean_nc = np.einsum("kn,knc->nc", weights_kn, colours_knc) / np.maximum(total_n, 1e-9)[:, None]
    return np.asarray(mean_nc, np.float32), np.asarray(total_n > 0, np.bool_)


def _lit_alike(
    colours_hwc: NDArray[np.float32], here_hwc: NDArray[np.uint8], ring_hw: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Colours shifted so that their mean around the hole is that of this frame."""
    if not ring_hw.any():
        return colours_hwc
    shift = here_hwc[ring_hw].astype(np.float32).mean(axis=0) - colours_hwc[ring_hw].mean(axis=0)
    return np.asarray(colours_hwc + shift, np.float32)
