"""EfficientSAM (Xiong et al., 2023) by ONNX Runtime, from its published pair of files.

The encoder takes pictures of any size and resizes them itself; the decoder gives three masks of
each prompt at the size of the picture, and their predicted IoU.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.segmenters.base import Segmentation
from tracker.segmenters.onnx_file import OnnxFile
from tracker.segmenters.prompt_points import prompt_points
from tracker.types import Prompt


class EfficientSam:
    """Encodes a picture once for all prompts on it."""

    def __init__(self, folder: Path, device: torch.device, name: str) -> None:
        """Load `encoder.onnx` and `decoder.onnx` of a folder.

        Raises:
            TrackdError: As `OnnxFile`.
        """
        self._encoder = OnnxFile(folder / "encoder.onnx", device, who=f"encoder of {name}")
        self._encoder.require(["batched_images"], outputs=1)
        self._decoder = OnnxFile(folder / "decoder.onnx", device, who=f"decoder of {name}")
        self._decoder.require(
            ["image_embeddings", "batched_point_coords", "batched_point_labels", "orig_im_size"],
            outputs=2,
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
        picture_1chw = image_hwc.transpose(2, 0, 1)[None].astype(np.float32) / 255
        embedding, *_ = self._encoder.run({"batched_images": picture_1chw})
        for index, prompt in enumerate(prompts):
            points_k2, labels_k = prompt_points(prompt)
            masks, ious, *_ = self._decoder.run(
                {
                    "image_embeddings": embedding,
                    "batched_point_coords": points_k2[None, None],
                    "batched_point_labels": labels_k[None, None],
                    "orig_im_size": np.array([height, width], np.int64),
                }
            )
            best = int(ious[0, 0].argmax())
            found.masks_nhw[index] = masks[0, 0, best] > 0
            found.scores_n[index] = ious[0, 0, best]
        return found
