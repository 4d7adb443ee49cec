"""From a squashed picture to its features."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.engine.preprocess import image_tensor, pixel_tensor
from tracker.models import Model
from tracker.models.sam2 import verbs as network
from tracker.models.sam2.verbs import Features


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
    """The features of a squashed picture, RGB uint8 [size, size, 3]."""
    with inference(model):
        if model.int8:
            image = pixel_tensor(small_hwc)
        else:
            image = image_tensor(small_hwc, model.input).to(model.device)
        return network.encode_image(model.network, image)
