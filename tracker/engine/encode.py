"""Image encoding in the precision of a model."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.models import Model
from tracker.models.base import Features


@contextmanager
def inference(model: Model) -> Iterator[None]:
    """Within the block the calling thread computes as the model wants it."""
    half = model.dtype == torch.bfloat16
    with (
        torch.inference_mode(),
        torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=half),
    ):
        yield


def encode(model: Model, small_hwc: NDArray[np.uint8]) -> Features:
    """The features of a resized picture, RGB uint8 [size, size, 3]."""
    with inference(model):
        return model.network.encode_image(small_hwc)
