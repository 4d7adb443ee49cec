"""Hugging Face transformers: `Sam2VideoModel` with a streaming session.

Its processor resizes each frame and enlarges the masks, which is in its times, as in ours. Its
configuration is that of sam2.1-tiny; its weights are random, on which its speed does not depend.
"""

import os
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import (
    Sam2ImageProcessor,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VideoProcessor,
    Sam2VideoVideoProcessor,
)

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

MODEL = "sam2.1-tiny"


class HuggingFace:
    """A streaming session; it keeps every frame and every result."""

    def __init__(self, wish: Wish) -> None:
        if wish.model != MODEL:
            raise ValueError(f"it is compared as {MODEL}, not as {wish.model}")
        self._wish = wish
        network = Sam2VideoModel(Sam2VideoConfig())
        self._model = random_weights(network).to(wish.device)
        self._processor = Sam2VideoProcessor(Sam2ImageProcessor(), Sam2VideoVideoProcessor())
        versions = {"transformers": version("transformers")}
        self.about = About(MODEL, "random (seed 0)", "1024 px", versions)

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


if __name__ == "__main__":
    raise SystemExit(serve(HuggingFace))
