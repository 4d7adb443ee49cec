"""Removal of objects: what was behind them is taken from other frames of the video.

Frames before and after are aligned to this one by homographies, outside of all objects. Where
several saw a hidden pixel, colours near their median are averaged, those near in time for more,
after light is matched around the hole. What no frame saw is filled by OpenCV's inpainting (Telea
2004), or by a diffusion model.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tracker.effects.alignment import (
    Homography,
    Part,
    View,
    around,
    homography,
    light_shift,
    view_of,
    warped,
)
from tracker.effects.base import EffectRequest, Shot
from tracker.effects.clean_plate import clean_plate, telea
from tracker.effects.edges import composed, feather_px, matte

_MAX_BYTES = 384 * 1024 * 1024  # of frames that are held, with their masks
_OFFSETS = (3, 7, 13, 21, 32, 45)  # of the frames that are looked at, before and after
_MARGIN = 1 / 90  # of the longer side, around the masks: shadows and soft edges
_RING_PX = 12  # around the hole, where light is matched
_NEAR_MEDIAN = 14.0  # of 255
_PIXELS = 1 << 16  # of a hole that are averaged at a time


class RemoveStage:
    """Stage that fills objects with what is behind them; it looks ahead and back.

    Raises:
        TrackdError: The inpainting model that the request names cannot be loaded.
    """

    def __init__(self, request: EffectRequest) -> None:
        """Take the target, and load the model that fills what no frame saw, if one is named."""
        self._target = request.target
        self._views: deque[View] = deque()
        self._index = 0  # of the next one to give
        self._plate = clean_plate(request.argument) if request.argument else None

    def push(self, shot: Shot) -> Iterator[Shot]:
        """The shots for which the frames after them are known."""
        if self._views and self._views[-1].shot.image_hwc.shape != shot.image_hwc.shape:
            yield from self.flush()  # frames of another size cannot be aligned
        view = view_of(shot, self._target, _margin_px(shot))
        if self._views:
            last = self._views.pop()
            self._views.append(replace(last, to_next=homography(last, view, None)))
        self._views.append(view)
        while _too_many(list(self._views)[self._index :]):
            yield self._next()

    def flush(self) -> Iterator[Shot]:
        """The rest."""
        while self._index < len(self._views):
            yield self._next()
        self._views.clear()
        self._index = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """How often a model was asked."""
        return () if self._plate is None else self._plate.notes

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

    def _filled(self, index: int, view: View) -> Shot:
        behind_hwc = np.array(view.shot.image_hwc[..., :3])
        part = around(view.hole_hw, _RING_PX)
        hole_hw = view.hole_hw[part] > 0
        samples = list(self._samples(index, part))
        unseen_hw = view.hole_hw.copy()
        if samples:
            colours_nc, seen_n = _robust_mean(samples)
            behind_hwc[part][hole_hw] = np.rint(colours_nc).clip(0, 255)
            unseen_hw[part][hole_hw] = ~seen_n
        if unseen_hw.any():
            behind_hwc = (self._plate or telea)(view, behind_hwc, unseen_hw)
        height, width = view.hole_hw.shape
        soft = feather_px(height, width)
        alpha_hw = matte(view.shot, self._target, soft, max(0.0, _margin_px(view.shot) - soft / 2))
        return replace(view.shot, image_hwc=composed(view.shot.image_hwc, behind_hwc, alpha_hw))

    def _samples(self, index: int, part: Part) -> Iterator["_Sample"]:
        """What other frames saw of the pixels of the hole, which is in `part`."""
        here = self._views[index]
        hole_hw = here.hole_hw[part] > 0
        image_hwc = here.shot.image_hwc[part][..., :3]
        near = [index + sign * offset for offset in _OFFSETS for sign in (-1, 1)]
        for other_index in near:
            if not 0 <= other_index < len(self._views):
                continue
            other = self._views[other_index]
            to_other = homography(here, other, self._chained(index, other_index))
            if to_other is None:
                continue
            colours_hwc, known_hw = warped(other, to_other, part)
            yield _Sample(
                colours_hwc[hole_hw],
                known_hw[hole_hw],
                light_shift(colours_hwc, image_hwc, known_hw & ~hole_hw),
                1 / abs(other_index - index),
            )

    def _chained(self, index: int, other_index: int) -> Homography | None:
        """A guess of how a frame maps to another: from neighbour to neighbour."""
        total: Homography = np.eye(3)
        first, last = sorted((index, other_index))
        for view in list(self._views)[first:last]:
            if view.to_next is None:
                return None
            total = view.to_next @ total
        return total if index < other_index else np.asarray(np.linalg.inv(total), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """What another frame saw of the n pixels of a hole.

    Attributes:
        colours_nc: uint8 RGB [n, 3].
        known_n: Whether it shows what is behind, bool [n].
        shift_c: Added to its colours, its light is that of this frame, float32 [3].
        weight: Of its colours in the mean.
    """

    colours_nc: NDArray[np.uint8]
    known_n: NDArray[np.bool_]
    shift_c: NDArray[np.float32]
    weight: float


def _margin_px(shot: Shot) -> float:
    return float(max(shot.image_hwc.shape[:2]) * _MARGIN)


def _too_many(views: Sequence[View]) -> bool:
    """True for more frames, before the one to fill or after it, than are looked at or have room."""
    if len(views) < 2:
        return False
    return len(views) > max(_OFFSETS) or 2 * sum(view.nbytes for view in views) > _MAX_BYTES


def _robust_mean(samples: Sequence[_Sample]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Mean colour of each pixel over the frames that saw it, and whether any did.

    Only those whose lightness is near the median of all: what moved by itself, a leash or a shadow
    outside of the mask, is seen by few.
    """
    count = len(samples[0].known_n)
    mean_nc, seen_n = np.zeros((count, 3), np.float32), np.zeros(count, np.bool_)
    weights_k = np.array([sample.weight for sample in samples], np.float32)
    for start in range(0, count, _PIXELS):
        some = slice(start, start + _PIXELS)
        colours_knc = np.stack([one.colours_nc[some] + one.shift_c for one in samples])
        known_kn = np.stack([one.known_n[some] for one in samples])
        near_kn = known_kn & _near_median(colours_knc.mean(axis=2), known_kn)
        weights_kn = weights_k[:, None] * near_kn
        total_n = weights_kn.sum(axis=0)
        sum_nc = np.einsum("kn,knc->nc", weights_kn, colours_knc)
        mean_nc[some] = sum_nc / np.maximum(total_n, 1e-9)[:, None]
        seen_n[some] = total_n > 0
    return mean_nc, seen_n


def _near_median(
    lightness_kn: NDArray[np.float32], known_kn: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether a value is near the (lower) median of the known ones of its column."""
    lightness_kn = np.where(known_kn, lightness_kn, np.inf)
    middle_n = np.maximum(known_kn.sum(axis=0) - 1, 0) // 2
    median_n = np.take_along_axis(np.sort(lightness_kn, axis=0), middle_n[None], axis=0)[0]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(lightness_kn - median_n) <= _NEAR_MEDIAN, np.bool_)
