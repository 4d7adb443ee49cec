"""Finder of everything: automatic masks by the model that tracks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracker.engine import mask_box
from tracker.finders.automatic_masks import AutomaticMasks
from tracker.finders.base import Proposal
from tracker.finders.settings import AutomaticMaskSettings
from tracker.models import Model

#: Where sam2's defaults, made for large networks, do not fit a model: chosen for recall of true
#: objects by few masks on pictures that the model was trained with.
MODEL_DEFAULTS: dict[str, dict[str, float]] = {
    "pico": {
        "points_per_side": 16,
        "pred_iou_thresh": 0.3,
        "stability_score_thresh": 0.3,
        "stability_score_offset": 0.25,
    }
}


class EverythingFinder:
    """Proposes every mask that the model is sure of; phrases mean nothing to it."""

    def __init__(self, model: Model, settings: AutomaticMaskSettings) -> None:
        """Use `model`, which may track at the same time.

        Raises:
            FinderError: The model gives no candidate masks.
        """
        self._masks = AutomaticMasks(model, fitted_settings(model.name, settings))

    def find(self, image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
        """Masks with their predicted IoU as score, and their stability; the best first."""
        return [
            Proposal(
                box_xyxy=box,
                score=min(1.0, max(0.0, mask.predicted_iou)),
                mask_hw=mask.mask_hw,
                stability=mask.stability,
            )
            for mask in self._masks.generate(image_hwc)
            if (box := mask_box(mask.mask_hw)) is not None
        ]


def fitted_settings(model_name: str, settings: AutomaticMaskSettings) -> AutomaticMaskSettings:
    """The settings with the model's own defaults for what was not given."""
    own = MODEL_DEFAULTS.get(model_name, {})
    left = {name: value for name, value in own.items() if name not in settings.model_fields_set}
    return settings.model_copy(update=left)
