"""Finder of what moves before a fixed camera: background subtraction by OpenCV's MOG2.

MOG2 is the adaptive mixture of Gaussians of Zivkovic (2004), here without its model of shadows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.finders.base import BoxXyxy, Proposal
from tracker.finders.boxes import box_iou
from tracker.finders.settings import MotionSettings

_OWN_RATE = -1.0
_CHAIN_IOU = 0.1  # with a blob of the frame before, to be taken for the same


@dataclass(frozen=True, slots=True)
class _Blob:
    """A connected region of foreground, and for how many frames in a row it has been seen."""

    box_xyxy: BoxXyxy
    mask_hw: NDArray[np.bool_]
    area_px: int
    seen: int


class MotionFinder:
    """Proposes the regions that differ from the background; must be given every frame."""

    def __init__(self, settings: MotionSettings) -> None:
        """Begin without a background."""
        self._settings = settings
        self._size_hw: tuple[int, ...] = (0, 0)
        self._blobs: list[_Blob] = []
        self._forget()

    def find(self, image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
        """Masks of what moved for some frames; the score is the share of its box that moved."""
        if image_hwc.shape[:2] != self._size_hw:
            self._size_hw = image_hwc.shape[:2]
            self._forget()
        self._frames += 1
        learned = self._frames > self._settings.warm_up
        # OpenCV's own rate is 1 / frames so far, by which what comes early is soon background.
        rate = 1 / self._settings.history if learned else _OWN_RATE
        found_hw = self._background.apply(image_hwc, learningRate=rate)
        foreground_hw = np.asarray(found_hw, np.uint8)
        if not learned:
            return []
        self._blobs = self._linked(self._segmented(foreground_hw))
        return [
            Proposal(blob.box_xyxy, _extent(blob), mask_hw=blob.mask_hw)
            for blob in self._blobs
            if blob.seen >= self._settings.persistence
        ]

    def _forget(self) -> None:
        self._background = cv2.createBackgroundSubtractorMOG2(
            history=self._settings.history,
            varThreshold=self._settings.var_threshold,
            detectShadows=False,
        )
        self._frames = 0
        self._blobs = []

    def _segmented(self, foreground_hw: NDArray[np.uint8]) -> list[_Blob]:
        settings, picture_px = self._settings, foreground_hw.size
        opening = np.ones((settings.opening_px, settings.opening_px), np.uint8)
        closing = np.ones((settings.closing_px, settings.closing_px), np.uint8)
        opened_hw = cv2.morphologyEx(foreground_hw, cv2.MORPH_OPEN, opening)
        closed_hw = cv2.morphologyEx(opened_hw, cv2.MORPH_CLOSE, closing)
        if np.count_nonzero(closed_hw) > settings.max_share * picture_px:
            return []
        count, labels_hw, stats, _ = cv2.connectedComponentsWithStats(closed_hw, connectivity=8)
        blobs = []
        for label in range(1, count):
            x, y, width, height, area_px = stats[label].tolist()
            if area_px >= settings.min_area * picture_px:
                box = (float(x), float(y), float(x + width), float(y + height))
                blobs.append(_Blob(box, labels_hw == label, area_px, seen=1))
        return blobs

    def _linked(self, blobs: list[_Blob]) -> list[_Blob]:
        """Blobs with the longest count of those before that each overlaps."""
        linked = []
        for blob in blobs:
            seen = [
                before.seen
                for before in self._blobs
                if box_iou(before.box_xyxy, blob.box_xyxy) >= _CHAIN_IOU
            ]
            age = 1 + max(seen, default=0)
            linked.append(_Blob(blob.box_xyxy, blob.mask_hw, blob.area_px, age))
        return linked


def _extent(blob: _Blob) -> float:
    x0, y0, x1, y1 = blob.box_xyxy
    return blob.area_px / ((x1 - x0) * (y1 - y0))
