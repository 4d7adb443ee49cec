"""Floating-point operations of the stages, counted in the official network.

They are what the model asks for: an engine that finds a shorter way to the same result is credited
with all of them, and one that does more is not.
"""

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tools.bench.models import official_predictor
from tools.bench.peers.predictor import PredictorTracker
from tools.bench.peers.worker import About, Image, Masks, Wish

_METHODS = {
    "image encoder": "forward_image",
    "memory attention": "_prepare_memory_conditioned_features",
    "mask decoder": "_forward_sam_heads",
    "memory encoder": "_encode_new_memory",
}


def count_flops(model: str, frames_nhwc: Image, mask_1hw: Masks) -> dict[str, int]:
    """FLOPs of each stage on the last of the frames, for one object; two for a multiply-add."""
    cpu = torch.device("cpu")
    predictor = official_predictor(model, SAM2VideoPredictor, cpu)
    tracker = PredictorTracker(predictor, Wish(model, "fp32", cpu), About(model, "", ""))
    with redirect_stderr(io.StringIO()):  # its progress bars
        return _count_last(predictor, tracker, frames_nhwc, mask_1hw)


def _count_last(
    predictor: SAM2VideoPredictor, tracker: PredictorTracker, frames_nhwc: Image, mask_1hw: Masks
) -> dict[str, int]:
    tracker.start(frames_nhwc, mask_1hw)
    for image_hwc in frames_nhwc[1:-1]:
        tracker.step(image_hwc)
    counted: dict[str, int] = {}
    for stage, method in _METHODS.items():
        setattr(predictor, method, _counting(getattr(predictor, method), stage, counted))
    # Only its plain form says which products attention is made of.
    with sdpa_kernel(SDPBackend.MATH):
        tracker.step(frames_nhwc[-1])
    return counted


def _counting(
    method: Callable[..., Any], stage: str, counted: dict[str, int]
) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        with FlopCounterMode(display=False) as counter:
            result = method(*args, **options)
        counted[stage] = counted.get(stage, 0) + counter.get_total_flops()
        return result

    return call
