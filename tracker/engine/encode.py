"""Image encoding in the precision of a model."""

from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from tracker.models import Model
from tracker.models.base import Features
from tracker.models.precision import inference_in


def inference(model: Model) -> AbstractContextManager[None]:
    """Within the block the calling thread computes as the model wants it."""
    return inference_in(model.dtype, model.device)


def encode(model: Model, small_hwc: NDArray[np.uint8]) -> Features:
    """The features of a resized picture, RGB uint8 [size, size, 3]."""
    with inference(model):
        return model.network.encode_image(small_hwc)
