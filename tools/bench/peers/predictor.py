"""Drives a `SAM2VideoPredictor`, the official one or that of a relative with the same methods.

Its loader reads a whole video before the first frame, so reading and resizing are not in its
times, as they are in ours.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tools.bench.peers.worker import (
    About,
    Image,
    Mask,
    Masks,
    Wish,
    inference,
    save_as_jpegs,
    to_masks,
)

ReadingOf = tuple[int, list[int], torch.Tensor]


class PredictorTracker:
    """A predictor that is asked for one frame after the other."""

    def __init__(self, predictor: Any, wish: Wish, about: About) -> None:
        self._predictor = predictor
        self._wish = wish
        self.about = about
        self._steps: Iterator[ReadingOf] = iter(())

    def start(self, frames_nhwc: Image, masks_khw: Masks) -> None:
        """Read the frames and add the masks."""
        with tempfile.TemporaryDirectory() as folder, inference(self._wish):
            state = self._predictor.init_state(save_as_jpegs(frames_nhwc, Path(folder)))
            for number, mask_hw in enumerate(masks_khw, start=1):
                self._predictor.add_new_mask(state, 0, number, mask_hw)
            self._steps = self._predictor.propagate_in_video(state, start_frame_idx=1)

    def step(self, image_hwc: Image) -> list[Mask]:
        """The masks of the next frame, which the predictor has read already."""
        with inference(self._wish):
            _, _, logits_k1hw = next(self._steps)
            return to_masks(logits_k1hw)
