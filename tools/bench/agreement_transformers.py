"""Drives a video network of transformers through a scenario, to compare it with our session.

Where it differs from the official predictor of SAM 2, whose choices are ours, it is told to do as
that one does:
- clicks that correct a mask are given that mask's logits, for which it has an argument that nothing
  sets;
- of a given mask it remembers what is left at low resolution;
- each object has a session of its own, since in one for several it remembers all objects of a frame
  as prompted where one of them is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import Sam2ImageProcessor, Sam2VideoProcessor, Sam2VideoVideoProcessor
from transformers.models.sam2_video.modeling_sam2_video import (
    Sam2VideoInferenceCache,
    Sam2VideoInferenceSession,
)

from tools.bench.agreement import FrameAndObject, Scenario
from tracker.models import InputSpec
from tracker.models.preprocess import image_tensor, resize_to_square
from tracker.types import Prompt

LOGITS_LIMIT = 32.0  # of a mask that is corrected, as in the official predictor


def run_transformers(
    scenario: Scenario, network: Any, spec: InputSpec, frames: Sequence[NDArray[np.uint8]]
) -> dict[FrameAndObject, Tensor]:
    """Logits at source resolution by frame and object.

    Args:
        scenario: What happens.
        network: A `Sam2VideoModel` or one of its relatives, in eval mode.
        spec: The pictures that it expects.
        frames: The frames.
    """
    frames = frames[: scenario.frames]
    pixels_t3ss = torch.cat([image_tensor(resize_to_square(f, spec), spec) for f in frames])
    encoded = Sam2VideoInferenceCache(max_vision_features_cache_size=len(frames))
    outputs: dict[FrameAndObject, Tensor] = {}
    height, width = frames[0].shape[:2]
    for number in sorted({prompt.object_id for _, prompt in scenario.prompts}):
        session = Sam2VideoInferenceSession(pixels_t3ss, height, width, dtype=torch.float32)
        session.cache = encoded
        outputs |= _track(scenario, number, network, spec, session)
    return outputs


def _track(
    scenario: Scenario,
    number: int,
    network: Any,
    spec: InputSpec,
    session: Sam2VideoInferenceSession,
) -> dict[FrameAndObject, Tensor]:
    """The outputs for one object."""
    prompts = {frame: p for frame, p in scenario.prompts if p.object_id == number}
    outputs = {}
    for frame in range(min(prompts), scenario.frames):
        if frame > min(prompts):
            out = network(inference_session=session, frame_idx=frame)
        if frame in prompts:
            previous = out.pred_masks if frame > min(prompts) else None
            _add(session, frame, prompts[frame], spec)
            with _as_official(network, previous):
                out = network(inference_session=session, frame_idx=frame)
        size = [session.video_height, session.video_width]
        logits = F.interpolate(out.pred_masks, size, mode="bilinear", align_corners=False)
        outputs[frame, number] = logits[0, 0]
    return outputs


@contextmanager
def _as_official(network: Any, previous_11ss: Tensor | None) -> Iterator[None]:
    """Within the block a prompt is taken as the official predictor does.

    Args:
        network: What it is given to.
        previous_11ss: The mask that clicks correct; None for none.
    """
    adopt = network._use_mask_as_output

    def adopt_at_low_resolution(*args: Any) -> Any:
        out, size = adopt(*args), (network.image_size, network.image_size)
        low_11ss = out.pred_masks
        out.high_res_masks = F.interpolate(low_11ss, size, mode="bilinear", align_corners=False)
        return out

    network._use_mask_as_output = adopt_at_low_resolution
    if previous_11ss is not None:
        logits = previous_11ss.clamp(-LOGITS_LIMIT, LOGITS_LIMIT)
        inference = network._run_single_frame_inference
        network._run_single_frame_inference = partial(inference, prev_sam_mask_logits=logits)
    try:
        yield
    finally:
        vars(network).pop("_use_mask_as_output")
        vars(network).pop("_run_single_frame_inference", None)


def _add(session: Sam2VideoInferenceSession, frame: int, prompt: Prompt, spec: InputSpec) -> None:
    """Give a prompt to a session, by the processor of transformers."""
    size = {"height": spec.size, "width": spec.size}
    images, videos = Sam2ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size)
    processor = Sam2VideoProcessor(images, videos, target_size=spec.size)
    points = [[[list(xy) for xy in prompt.points_xy]]] if prompt.points_xy else None
    processor.add_inputs_to_inference_session(
        session,
        frame,
        prompt.object_id,
        input_points=points,
        input_labels=[[list(prompt.point_labels)]] if points else None,
        input_boxes=None if prompt.box_xyxy is None else [[list(prompt.box_xyxy)]],
        input_masks=prompt.mask_hw,
    )
