"""SAM (Kirillov et al., 2023) and SAM-HQ (Ke et al., 2023) with the networks of `transformers`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tracker.errors import ModelError
from tracker.models.pretrained import load_pretrained
from tracker.segmenters.base import Segmentation
from tracker.types import Prompt

_FAMILIES = ("sam", "sam_hq")


class TransformersSam:
    """Encodes a picture once for all prompts on it."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Load a model as `save_pretrained` writes it.

        Raises:
            UsageError: `transformers` is not installed.
            ModelError: The folder holds no such model.
        """
        self._network, self._processor = load_pretrained(
            "AutoModelForMaskGeneration", folder, device
        )
        family = self._network.config.model_type
        if family not in _FAMILIES:
            raise ModelError(f"{folder} holds a {family}, not SAM or SAM-HQ", "use another folder")
        self._device = device

    def segment(self, image_hwc: NDArray[np.uint8], prompts: Sequence[Prompt]) -> Segmentation:
        """Masks of the prompts, and their predicted IoU.

        A single click may mean a thing, a part of it or a part of that: of the three masks it is
        the one of largest predicted IoU. A box, or several clicks, give one mask.
        """
        found = Segmentation.empty(len(prompts), *image_hwc.shape[:2])
        if not prompts:
            return found
        inputs = self._processor(images=Image.fromarray(image_hwc), return_tensors="pt")
        sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
        with torch.inference_mode():
            encoded = self._encoded(inputs["pixel_values"])
            for index, prompt in enumerate(prompts):
                found.masks_nhw[index], found.scores_n[index] = self._decoded(
                    encoded, prompt, *sizes
                )
        return found

    def _encoded(self, pixels_1chw: Tensor) -> dict[str, Any]:
        embeddings = self._network.get_image_embeddings(pixels_1chw.to(self._device))
        if self._network.config.model_type == "sam_hq":
            image, intermediate = embeddings
            return {"image_embeddings": image, "intermediate_embeddings": intermediate}
        return {"image_embeddings": embeddings}

    def _decoded(
        self, encoded: dict[str, Any], prompt: Prompt, original_12: Tensor, scaled_12: Tensor
    ) -> tuple[NDArray[np.bool_], float]:
        """The best mask of a prompt; sizes are height, width of the picture and as encoded."""
        scale_xy = (scaled_12 / original_12)[0].flip(0).float()
        given = {key: value.to(self._device) for key, value in _given(prompt, scale_xy).items()}
        ambiguous = prompt.click_count == 1
        outputs = self._network(**encoded, **given, multimask_output=ambiguous)
        (masks_1ahw,) = self._processor.post_process_masks(
            outputs.pred_masks.cpu(), original_12, scaled_12
        )
        iou_a = outputs.iou_scores[0, 0]
        best = int(iou_a.argmax())
        return np.asarray(masks_1ahw[0, best], np.bool_), float(iou_a[best])


def _given(prompt: Prompt, scale_xy: Tensor) -> dict[str, Tensor]:
    """A prompt as the network takes it: pictures, then objects, then points, as it is encoded."""
    given: dict[str, Tensor] = {}
    if prompt.points_xy:
        given["input_points"] = torch.tensor([[prompt.points_xy]]) * scale_xy
        given["input_labels"] = torch.tensor([[prompt.point_labels]])
    if prompt.box_xyxy is not None:
        given["input_boxes"] = torch.tensor([[prompt.box_xyxy]]) * scale_xy.repeat(2)
    return given
