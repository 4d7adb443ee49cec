"""Drives the official `SAM2VideoPredictor` and our session through the same scenario."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from tracker.engine import Policy, Session
from tracker.models import Model
from tracker.types import Prompt

FrameAndObject = tuple[int, int]


@dataclass(frozen=True)
class Scenario:
    """Prompts by the frame that they are given on, and how many frames are tracked."""

    name: str
    frames: int
    prompts: tuple[tuple[int, Prompt], ...]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two sets of masks: those compared, those that were not empty, the worst."""

    scenario: str
    compared: int
    filled: int
    lowest_iou: float
    largest_logit_difference: float


def write_frames(frames: Sequence[NDArray[np.uint8]], folder: Path) -> Path:
    """Save frames for the official loader: it wants .jpg names, PNG inside keeps every bit."""
    for i, frame in enumerate(frames):
        with (folder / f"{i:05d}.jpg").open("wb") as file:
            Image.fromarray(frame).save(file, format="PNG", compress_level=1)
    return folder


def compare(
    scenario: Scenario,
    official: SAM2VideoPredictor,
    model: Model,
    policy: Policy,
    folder: Path,
    frames: Sequence[NDArray[np.uint8]],
) -> Agreement:
    """Run both, and compare every mask of every frame.

    Args:
        scenario: What happens.
        official: The predictor, with the same weights.
        model: Ours.
        policy: Of our session.
        folder: The frames, for the predictor.
        frames: The frames, for us.
    """
    theirs = run_official(scenario, official, folder)
    return agreement(scenario, run_ours(scenario, model, policy, frames), theirs)


def agreement(
    scenario: Scenario,
    ours: Mapping[FrameAndObject, Tensor],
    theirs: Mapping[FrameAndObject, Tensor],
) -> Agreement:
    """Agreement of the logits of a scenario, ours and theirs."""
    assert ours.keys() == theirs.keys()
    ious, differences, filled = [], [], 0
    for key, logits in ours.items():
        a, b = logits > 0, theirs[key] > 0
        union = (a | b).sum().item()
        ious.append((a & b).sum().item() / union if union else 1.0)
        filled += bool(union)
        differences.append((logits - theirs[key]).abs().max().item())
    return Agreement(scenario.name, len(ours), filled, min(ious), max(differences))


def run_ours(
    scenario: Scenario, model: Model, policy: Policy, frames: Sequence[NDArray[np.uint8]]
) -> dict[FrameAndObject, Tensor]:
    """Logits at source resolution by frame and object."""
    session = Session(model, policy)
    outputs = {}
    for index, frame in enumerate(frames[: scenario.frames]):
        session.step(frame)
        for _, prompt in (p for p in scenario.prompts if p[0] == index):
            session.prompt(prompt)
        for obj in session.state.objects.rows:
            logits = F.interpolate(
                obj.outputs[-1].decoded.logits_n1ss,
                frame.shape[:2],
                mode="bilinear",
                align_corners=False,
            )
            outputs[index, obj.id] = logits[0, 0].cpu()
    return outputs


def run_official(
    scenario: Scenario, predictor: SAM2VideoPredictor, folder: Path
) -> dict[FrameAndObject, Tensor]:
    """The same from the official predictor, prompted as a live user would: up to a frame only."""
    state = predictor.init_state(str(folder))
    outputs: dict[FrameAndObject, Tensor] = {}
    stops = sorted({frame for frame, _ in scenario.prompts})
    for stop, following in zip(stops, [*stops[1:], scenario.frames - 1], strict=True):
        for _, prompt in (p for p in scenario.prompts if p[0] == stop):
            _add(predictor, state, stop, prompt, outputs)
        start = stop + 1
        if start <= following:
            for index, ids, masks in predictor.propagate_in_video(
                state, start_frame_idx=start, max_frame_num_to_track=following - start
            ):
                for object_id, mask in zip(ids, masks, strict=True):
                    outputs[index, object_id] = mask[0].cpu()
    return outputs


def _add(
    predictor: SAM2VideoPredictor,
    state: dict[str, object],
    frame: int,
    prompt: Prompt,
    outputs: dict[FrameAndObject, Tensor],
) -> None:
    if prompt.mask_hw is not None:
        added = predictor.add_new_mask(state, frame, prompt.object_id, prompt.mask_hw)
    else:
        added = predictor.add_new_points_or_box(
            state,
            frame,
            prompt.object_id,
            points=np.array(prompt.points_xy, np.float32) if prompt.points_xy else None,
            labels=np.array(prompt.point_labels, np.int32) if prompt.points_xy else None,
            box=None if prompt.box_xyxy is None else np.array(prompt.box_xyxy, np.float32),
        )
    _, ids, masks = added
    outputs[frame, prompt.object_id] = masks[ids.index(prompt.object_id)][0].cpu()
