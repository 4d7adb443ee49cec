"""SAM (Kirillov et al., 2023) and SAM-HQ (Ke et al., 2023) with the networks of `transformers`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

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
        masks_nhw = np.zeros((len(prompts), *image_hwc.shape[:2]), np.bool_)
        score_n = np.zeros(len(prompts), np.float32)
        if not prompts:
            return Segmentation(masks_nhw, score_n)
        picture = Image.fromarray(image_hwc)
        with torch.inference_mode():
            encoded = self._encoded(picture)
            for index, prompt in enumerate(prompts):
                masks_nhw[index], score_n[index] = self._decoded(picture, encoded, prompt)
        return Segmentation(masks_nhw, score_n)

    def _encoded(self, picture: Image.Image) -> dict[str, Any]:
        pixels = self._processor(images=picture, return_tensors="pt")["pixel_values"]
        embeddings = self._network.get_image_embeddings(pixels.to(self._device))
        if self._network.config.model_type == "sam_hq":
            image, intermediate = embeddings
            return {"image_embeddings": image, "intermediate_embeddings": intermediate}
        return {"image_embeddings": embeddings}

    def _decoded(
        self, picture: Image.Image, encoded: dict[str, Any], prompt: Prompt
    ) -> tuple[NDArray[np.bool_], float]:
        inputs = self._processor(images=picture, return_tensors="pt", **_given(prompt))
        sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
        inputs.pop("pixel_values")
        ambiguous = prompt.click_count == 1
        outputs = self._network(**encoded, **inputs.to(self._device), multimask_output=ambiguous)
        (masks_1ahw,) = self._processor.post_process_masks(outputs.pred_masks.cpu(), *sizes)
        iou_a = outputs.iou_scores[0, 0]
        best = int(iou_a.argmax())
        return np.asarray(masks_1ahw[0, best], np.bool_), float(iou_a[best])


def _given(prompt: Prompt) -> dict[str, Any]:
    """A prompt as the processor takes it: pictures, then objects, then points."""
    given: dict[str, Any] = {}
    if prompt.points_xy:
        given["input_points"] = [[[list(point) for point in prompt.points_xy]]]
        given["input_labels"] = [[list(prompt.point_labels)]]
    if prompt.box_xyxy is not None:
        given["input_boxes"] = [[list(prompt.box_xyxy)]]
    return given
