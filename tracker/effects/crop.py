"""Crop that follows objects, with eased motion."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.effects.base import EffectRequest, Shot
from tracker.errors import UsageError

_ASPECT = re.compile(r"(\d{1,5})x(\d{1,5})")
_DEFAULT = "9x16"
_EASE_S = 1.0  # before and after a frame, over which the way is averaged
_MAX_AHEAD = 60
_MAX_BYTES = 256 * 1024 * 1024  # of pictures that are held


def check_aspect(argument: str) -> None:
    """Check the shape of a crop.

    Raises:
        UsageError: It is not WIDTHxHEIGHT.
    """
    match = _ASPECT.fullmatch(argument or _DEFAULT)
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise UsageError(f"--effect crop:{argument} is not WIDTHxHEIGHT", "as in crop:9x16")


class CropStage:
    """Stage that shows the part of the picture around the objects, as large as its shape allows.

    The way of the middle is averaged over a second before and after each frame (a Gaussian window,
    so that motion begins and ends softly and does not lag). While nothing is to be seen it stays.
    """

    def __init__(self, request: EffectRequest) -> None:
        """Take shape, target and frame rate."""
        width, height = map(int, (request.argument or _DEFAULT).split("x"))
        self._aspect = width / height
        self._target = request.target
        self._ahead = max(1, min(_MAX_AHEAD, round(request.fps * _EASE_S)))
        self._waiting: deque[Shot] = deque()
        self._way: deque[NDArray[np.float64]] = deque()  # from `_ahead` before the first waiting
        self._size_wh: tuple[int, int] | None = None

    def push(self, shot: Shot) -> Iterator[Shot]:
        """The shots for which the second after them is known."""
        if self._size_wh is None:
            height, width = shot.image_hwc.shape[:2]
            self._size_wh = _largest(self._aspect, height, width)
            self._ahead = max(1, min(self._ahead, _MAX_BYTES // shot.without_objects.nbytes))
        middle = self._middle(shot)
        if not self._way:  # as if it had stood there before
            self._way.extend([middle] * self._ahead)
        self._waiting.append(shot.without_objects)
        self._way.append(middle)
        while len(self._waiting) > self._ahead or self._is_full:
            yield self._next()

    def flush(self) -> Iterator[Shot]:
        """The rest, as if the last place were held."""
        while self._waiting:
            self._way.append(self._way[-1])
            yield self._next()

    @property
    def _is_full(self) -> bool:
        """True where larger pictures than the first leave less time to look ahead."""
        return len(self._waiting) > 1 and sum(s.nbytes for s in self._waiting) > _MAX_BYTES

    def _middle(self, shot: Shot) -> NDArray[np.float64]:
        boxes = [i.box_xyxy for i in shot.objects if i.box_xyxy and self._target.has(i.id)]
        if boxes:
            edges = np.array(boxes, np.float64)
            middle = (edges[:, :2].min(axis=0) + edges[:, 2:].max(axis=0)) / 2
            return np.asarray(middle, np.float64)
        if self._way:
            return self._way[-1]
        height, width = shot.image_hwc.shape[:2]
        return np.array([width / 2, height / 2])

    def _next(self) -> Shot:
        shot = self._waiting.popleft()
        way = np.array(self._way)
        offsets = np.arange(len(way)) - self._ahead
        weights = np.exp(-0.5 * (offsets / (self._ahead / 2.5)) ** 2)
        middle = (way * weights[:, None]).sum(axis=0) / weights.sum()
        self._way.popleft()
        return replace(shot, image_hwc=self._cropped(shot.image_hwc, middle))

    def _cropped(
        self, image_hwc: NDArray[np.uint8], middle_xy: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        assert self._size_wh is not None
        height, width = image_hwc.shape[:2]
        sides = np.array(_largest(self._aspect, height, width), np.float64)
        corner = np.clip(middle_xy - sides / 2, 0, np.array([width, height]) - sides)
        # By parts of a pixel, or slow motion would be seen as steps.
        shift = np.array([[1, 0, corner[0]], [0, 1, corner[1]]], np.float64)
        size_wh = (int(sides[0]), int(sides[1]))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        part = cv2.warpAffine(
            image_hwc, shift, size_wh, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        if size_wh != self._size_wh:
            part = cv2.resize(part, self._size_wh)
        return np.asarray(part, np.uint8)


def _largest(aspect: float, height: int, width: int) -> tuple[int, int]:
    """Width and height, even where that fits, of the largest crop of a shape."""
    wide, high = (width, width / aspect) if width < height * aspect else (height * aspect, height)
    return max(1, int(wide) // 2 * 2), max(1, int(high) // 2 * 2)
