"""Hugging Face transformers: its class of a network with a streaming session.

Its processor resizes each frame and enlarges the masks, which is in its times, as in ours. As
sam2.1-tiny its weights are random, on which its speed does not depend; else they are those of ours.
"""

import os
from importlib.metadata import version
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import (
    Sam2ImageProcessor,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VideoProcessor,
    Sam2VideoVideoProcessor,
)

from tools.bench.models import find_weights
from tools.bench.peers.worker import (
    About,
    Image,
    Mask,
    Masks,
    Wish,
    inference,
    random_weights,
    serve,
    to_masks,
)
from tracker.models import find_spec
from tracker.models.hugging_face.family import HuggingFaceFamily
from tracker.models.load import find_family

TINY = "sam2.1-tiny"


class HuggingFace:
    """A streaming session; it keeps every frame and every result."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        network, weights, input_px = _network(wish.model)
        self._model: Any = network.eval().requires_grad_(False).to(wish.device)
        size = {"height": input_px, "width": input_px}
        images, videos = Sam2ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size)
        self._processor = Sam2VideoProcessor(images, videos, target_size=input_px)
        versions = {"transformers": version("transformers")}
        self.about = About(wish.model, weights, f"{input_px} px", versions)

    def start(self, frames_nhwc: Image, masks_khw: Masks) -> None:
        """Add the masks on the first frame."""
        self._session = self._processor.init_video_session(inference_device=self._wish.device)
        with inference(self._wish):
            first = self._pixels(frames_nhwc[0])
            self._processor.add_inputs_to_inference_session(
                inference_session=self._session,
                frame_idx=0,
                obj_ids=list(range(1, len(masks_khw) + 1)),
                input_masks=list(masks_khw),
                original_size=masks_khw.shape[1:],
            )
            self._model(inference_session=self._session, frame=first)

    def step(self, image_hwc: Image) -> list[Mask]:
        """Stream one frame, and enlarge its masks."""
        with inference(self._wish):
            out = self._model(inference_session=self._session, frame=self._pixels(image_hwc))
            (logits_k1hw,) = self._processor.post_process_masks(
                [out.pred_masks], original_sizes=[image_hwc.shape[:2]], binarize=False
            )
            return to_masks(logits_k1hw)

    def _pixels(self, image_hwc: Image) -> torch.Tensor:
        inputs = self._processor(images=image_hwc, device=self._wish.device, return_tensors="pt")
        pixels_13ss: torch.Tensor = inputs.pixel_values
        return pixels_13ss


def _network(name: str) -> tuple[torch.nn.Module, str, int]:
    """A network, whose its weights are, and the side of its input in pixels.

    Raises:
        ValueError: transformers has no class for the model.
    """
    if name == TINY:
        return random_weights(Sam2VideoModel(Sam2VideoConfig())), "random (seed 0)", 1024
    spec = find_spec(name.partition("@")[0])
    family = find_family(spec)
    if not isinstance(family, HuggingFaceFamily):
        raise ValueError(f"transformers has no class for {name}")
    weights = find_weights(name)
    return family.build(spec, weights.path), weights.origin, weights.input_px


if __name__ == "__main__":
    raise SystemExit(serve(HuggingFace))
