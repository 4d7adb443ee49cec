"""Flicker of mattes: how much they change from frame to frame beyond what moved.

The temporal warping error of Lai et al. 2018 ("Learning Blind Video Temporal Consistency"): the
matte before is carried on by optical flow (Farneback, not the flow that steadies the edges), and
its mean difference from the matte of this frame is taken over the pixels around the edge.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streams.frame import Frame
from tools.outputs.recorded import recorded_frames
from tracker.effects.base import Shot, Target
from tracker.effects.edges import SteadyEdges, feather_px, matte
from tracker.types import TrackResult

Mattes = Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]
_BAND_PX = 12


def flicker(video: str, masks: Path) -> dict[str, float]:
    """Warping error of masks, of feathered ones, and of feathered and steadied ones."""
    ways: dict[str, Callable[[Iterator[tuple[Frame, TrackResult]]], Mattes]] = {
        "masks as tracked": _hard,
        "soft edge": lambda frames: _soft(frames, SteadyEdges(kept=0)),
        "soft edge, steadied in time": lambda frames: _soft(frames, SteadyEdges()),
    }
    return {way: _error(make(recorded_frames(video, masks))) for way, make in ways.items()}


def _hard(frames: Iterator[tuple[Frame, TrackResult]]) -> Mattes:
    for frame, result in frames:
        mask_hw = np.zeros(frame.image.shape[:2], np.float32)
        for item in result.objects:
            mask_hw[item.mask_hw] = 1
        yield frame.image, mask_hw


def _soft(frames: Iterator[tuple[Frame, TrackResult]], edges: SteadyEdges) -> Mattes:
    for frame, result in frames:
        for shot in edges.push(Shot(frame, frame.image, result.objects)):
            yield frame.image, matte(shot, Target(), feather_px(*frame.image.shape[:2]))


def _error(mattes: Mattes) -> float:
    errors: list[float] = []
    before: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None
    kernel = np.ones((_BAND_PX, _BAND_PX), np.uint8)
    for image_hwc, alpha_hw in mattes:
        grey_hw = np.asarray(cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY), np.uint8)
        if before is not None:
            motion = cv2.calcOpticalFlowFarneback(
                grey_hw,
                before[0],
                None,
                0.5,
                4,
                21,
                3,
                7,
                1.5,
                0,  # type: ignore[call-overload]
            )
            height, width = grey_hw.shape
            x, y = np.meshgrid(np.arange(width), np.arange(height))
            x_hw = (motion[..., 0] + x).astype(np.float32)
            y_hw = (motion[..., 1] + y).astype(np.float32)
            carried_hw = cv2.remap(before[1], x_hw, y_hw, cv2.INTER_LINEAR)
            solid = (alpha_hw > 0.5).astype(np.uint8)
            band = cv2.dilate(solid, kernel) != cv2.erode(solid, kernel)
            if band.any():
                errors.append(float(np.abs(alpha_hw - carried_hw)[band].mean()))
        before = (grey_hw, alpha_hw)
    return float(np.mean(errors)) if errors else 0.0
