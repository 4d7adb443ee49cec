"""The tracking model as a segmenter: a session of a single frame."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracker.engine import Policy, Session
from tracker.models import Model
from tracker.segmenters.base import Segmentation
from tracker.types import Prompt


class TrackerSegmenter:
    """Segments with a model's prompt encoder and mask decoder, without memories."""

    def __init__(self, model: Model) -> None:
        """Use `model`, which may track at the same time."""
        self._model = model

    def segment(self, image_hwc: NDArray[np.uint8], prompts: Sequence[Prompt]) -> Segmentation:
        """The object of each prompt; the score is the predicted IoU."""
        session = Session(self._model, Policy(history_frames=0, max_objects=max(1, len(prompts))))
        session.step(image_hwc)
        found = [session.prompt(prompt).object for prompt in prompts]
        masks_nhw = np.zeros((len(found), *image_hwc.shape[:2]), np.bool_)
        for index, item in enumerate(found):
            masks_nhw[index] = item.mask_hw
        return Segmentation(masks_nhw, np.array([item.iou for item in found], np.float32))
