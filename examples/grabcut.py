"""Segmenter by GrabCut (Rother et al., 2004), from a box, points or both.

A package offers it with these lines of its pyproject.toml, and then
`trackd track clip.mp4 --box 1:120,80,340,400 --segmenter grabcut --coco masks.json` uses it:

    [project.entry-points."trackd.segmenters"]
    grabcut = "grabcut:GRABCUT"
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.models import Model
from tracker.segmenters.base import Segmentation, SegmenterSpec
from tracker.types import Prompt

_ITERATIONS = 5
_CLICK_RADIUS_PX = 3


class GrabCut:
    """Separates colours inside a box from those outside; clicks say for sure."""

    def segment(self, image_hwc: NDArray[np.uint8], prompts: Sequence[Prompt]) -> Segmentation:
        """The object of each prompt; it gives no estimate of its own, so each score is 1."""
        masks_nhw = np.zeros((len(prompts), *image_hwc.shape[:2]), np.bool_)
        for index, prompt in enumerate(prompts):
            masks_nhw[index] = _cut(image_hwc, prompt)
        return Segmentation(masks_nhw, np.ones(len(prompts), np.float32))


def _cut(image_hwc: NDArray[np.uint8], prompt: Prompt) -> NDArray[np.bool_]:
    height, width = image_hwc.shape[:2]
    labels_hw = np.full((height, width), cv2.GC_BGD, np.uint8)
    x0, y0, x1, y1 = map(round, prompt.box_xyxy or (1, 1, width - 1, height - 1))
    labels_hw[y0:y1, x0:x1] = cv2.GC_PR_FGD
    for (x, y), label in zip(prompt.points_xy, prompt.point_labels, strict=True):
        sure = cv2.GC_FGD if label else cv2.GC_BGD
        cv2.circle(labels_hw, (round(x), round(y)), _CLICK_RADIUS_PX, sure, cv2.FILLED)
    cv2.setRNGSeed(0)  # the same mask on every run
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    mode = cv2.GC_INIT_WITH_MASK
    no_rect = (0, 0, 0, 0)  # the labels say it
    cv2.grabCut(image_hwc, labels_hw, no_rect, background, foreground, _ITERATIONS, mode)
    return np.isin(labels_hw, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _make(model: Model) -> GrabCut:
    return GrabCut()


GRABCUT = SegmenterSpec("grabcut", "GrabCut by colours", _make)
