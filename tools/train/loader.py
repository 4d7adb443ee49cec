"""Batches of clips, in an order that the step number alone decides."""

import os
import signal
from collections.abc import Iterator

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tools.train.clips import ClipMaker
from tools.train.config import Phase

WORKER_NICENESS = 5
WAITING_BATCHES = 2  # made ahead by each worker


class _Clips(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, maker: ClipMaker) -> None:
        self._maker = maker

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        clip = self._maker.clip(number)
        return torch.from_numpy(clip.images_tssc), torch.from_numpy(clip.masks_otss)


def batches(
    maker: ClipMaker, phase: Phase, *, first_clip: int, steps: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images uint8 [n, T, S, S, 3] and masks bool [n, o, T, S, S] of one pass after the other.

    Args:
        maker: Makes the clips.
        phase: How many go into a pass.
        first_clip: Number of the first clip.
        steps: Optimizer steps to give batches for.
        workers: Processes that make the clips; 0 makes them here.
    """
    starts = range(first_clip, first_clip + steps * phase.clips_per_step, phase.batch)
    loader = DataLoader(
        _Clips(maker),
        batch_sampler=[list(range(start, start + phase.batch)) for start in starts],
        num_workers=workers,
        prefetch_factor=WAITING_BATCHES if workers else None,
        worker_init_fn=_start_worker,
        pin_memory=torch.cuda.is_available(),
    )
    yield from ((images, masks) for images, masks in loader)


def _start_worker(number: int) -> None:
    """Give way to the trainer, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.nice(WORKER_NICENESS)
    cv2.setNumThreads(0)
