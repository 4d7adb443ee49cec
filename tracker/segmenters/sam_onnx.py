"""SAM (Kirillov et al., 2023) and MobileSAM (Zhang et al., 2023) as a pair of ONNX files.

The files are those that the samexporter package writes: an encoder, with or without SAM's
preprocessing, and the decoder of SAM's own export.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tracker.errors import ModelError
from tracker.segmenters.base import Segmentation
from tracker.segmenters.onnx_file import OnnxFile
from tracker.segmenters.prompt_points import prompt_points
from tracker.types import Prompt

_SIDE = 1024  # of the input, where the encoder does not say
_MASK_STRIDE = 4  # input pixels to one of a low-resolution mask
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_STD = np.array([58.395, 57.12, 57.375], np.float32)
_NO_POINT = -1.0  # label of the point that stands in for a box, as SAM's export wants it


class SamOnnx:
    """Encodes a picture once for all prompts on it."""

    def __init__(self, folder: Path, device: torch.device, name: str) -> None:
        """Load `encoder.onnx` and `decoder.onnx` of a folder.

        Raises:
            TrackdError: As `OnnxFile`.
        """
        self._encoder = OnnxFile(folder / "encoder.onnx", device, who=f"encoder of {name}")
        ((self._input, shape), *others) = self._encoder.input_shapes.items()
        if others or len(shape) not in (3, 4):
            raise ModelError(
                f"{self._encoder.path} takes {shape}, which is no picture",
                f"give the encoder of {name}",
            )
        self._is_normalized = len(shape) == 4
        side = shape[-1] if self._is_normalized else None
        self._side = side if isinstance(side, int) else _SIDE
        self._decoder = OnnxFile(folder / "decoder.onnx", device, who=f"decoder of {name}")
        self._decoder.require(
            [
                "image_embeddings",
                "point_coords",
                "point_labels",
                "mask_input",
                "has_mask_input",
                "orig_im_size",
            ],
            outputs=3,
        )

    def segment(self, image_hwc: NDArray[np.uint8], prompts: Sequence[Prompt]) -> Segmentation:
        """The mask of largest predicted IoU of each prompt.

        Raises:
            ModelError: The files do not fit each other.
        """
        height, width = image_hwc.shape[:2]
        found = Segmentation.empty(len(prompts), height, width)
        if not prompts:
            return found
        scale = self._side / max(height, width)
        resized_hw = int(height * scale + 0.5), int(width * scale + 0.5)
        resized_hwc = _resized(image_hwc, resized_hw)
        (embedding, *_) = self._encoder.run({self._input: self._encoder_input(resized_hwc)})
        for index, prompt in enumerate(prompts):
            low, iou = self._decoded(embedding, prompt, (height, width), resized_hw)
            found.masks_nhw[index] = self._upsampled(low, resized_hw, (height, width))
            found.scores_n[index] = iou
        return found

    def _encoder_input(self, resized_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
        floats_hwc = resized_hwc.astype(np.float32)
        if not self._is_normalized:
            return floats_hwc
        height, width = resized_hwc.shape[:2]
        padded_hwc = np.zeros((self._side, self._side, 3), np.float32)
        padded_hwc[:height, :width] = (floats_hwc - _MEAN) / _STD
        return padded_hwc.transpose(2, 0, 1)[None]

    def _decoded(
        self,
        embedding: NDArray[np.float32],
        prompt: Prompt,
        size_hw: tuple[int, int],
        resized_hw: tuple[int, int],
    ) -> tuple[NDArray[np.float32], float]:
        """The best low-resolution mask, logits [s, s], and its predicted IoU."""
        points_k2, labels_k = prompt_points(prompt)
        points_k2 = points_k2 * np.array(
            [resized_hw[1] / size_hw[1], resized_hw[0] / size_hw[0]], np.float32
        )
        if prompt.box_xyxy is None:
            points_k2 = np.concatenate([points_k2, np.zeros((1, 2), np.float32)])
            labels_k = np.append(labels_k, np.float32(_NO_POINT))
        low_side = self._side // _MASK_STRIDE
        _, ious, lows, *_ = self._decoder.run(
            {
                "image_embeddings": embedding,
                "point_coords": points_k2[None],
                "point_labels": labels_k[None],
                "mask_input": np.zeros((1, 1, low_side, low_side), np.float32),
                "has_mask_input": np.zeros(1, np.float32),
                "orig_im_size": np.array(size_hw, np.float32),
            }
        )
        best = int(ious[0].argmax())
        return lows[0, best], float(ious[0, best])

    def _upsampled(
        self, low_ss: NDArray[np.float32], resized_hw: tuple[int, int], size_hw: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """The mask at the picture's size.

        Not that of the decoder: its export keeps the proportions of the picture it was made with.
        """
        square = cv2.resize(low_ss, (self._side, self._side), interpolation=cv2.INTER_LINEAR)
        part = square[: resized_hw[0], : resized_hw[1]]
        mask_hw = cv2.resize(part, size_hw[::-1], interpolation=cv2.INTER_LINEAR) > 0
        return np.asarray(mask_hw, np.bool_)


def _resized(image_hwc: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = (max(1, side) for side in size_hw)
    picture = Image.fromarray(image_hwc)
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
