"""Preprocessing of images to a network's input."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tracker.models import InputSpec


def resize_to_square(image_hwc: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Resize an image, RGB [H, W, 3], to the network's square, RGB [size, size, 3].

    The aspect ratio is ignored, as in sam2's `load_video_frames`. `spec.resize` names the filter
    that the weights were trained with: "pil" is that function's own antialiased one, "linear" is
    OpenCV's bilinear, which costs a tenth of it.
    """
    side = (spec.size, spec.size)
    if spec.resize == "pil":
        return np.array(Image.fromarray(image_hwc).resize(side))
    return np.asarray(cv2.resize(image_hwc, side, interpolation=cv2.INTER_LINEAR), np.uint8)


def image_tensor(small_hwc: NDArray[np.uint8], spec: InputSpec) -> Tensor:
    """Normalise a resized image, uint8 [size, size, 3].

    Returns:
        float32 [1, 3, size, size] on the CPU, channels last in memory.
    """
    scale = 1.0 / (255.0 * np.asarray(spec.std, dtype=np.float64))
    shift = np.asarray(spec.mean, dtype=np.float64) / np.asarray(spec.std, dtype=np.float64)
    image_1hwc = torch.from_numpy(small_hwc.astype(np.float32))[None]
    image_1hwc.mul_(torch.from_numpy(scale).float()).sub_(torch.from_numpy(shift).float())
    return image_1hwc.permute(0, 3, 1, 2)


def pixel_tensor(small_hwc: NDArray[np.uint8]) -> Tensor:
    """A view of a resized image for a quantized encoder: uint8 [1, 3, size, size].

    Channels are last in memory, and by the strides too.
    """
    return torch.from_numpy(small_hwc)[None].permute(0, 3, 1, 2)
