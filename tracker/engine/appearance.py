"""Appearance descriptors of objects: mean and deviation of the encoder's features in a mask.

They cost next to nothing, since the features are those that the masks are decoded from. Of pico's
levels the one at stride 8 tells an object from its like best; coarser ones tell kinds of things.
Two descriptors are as far apart as half the sum of the cosine distances of their halves.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tracker.models.base import Features

Descriptors = NDArray[np.float32]
WINDOW_STEP = 2  # cells from one window of a search to the next


@dataclass(frozen=True, slots=True)
class Windows:
    """Square windows of a picture, as many across as down.

    Attributes:
        descriptors_qd: One of each window, row by row.
        centres_q2: x, y as fractions of the picture, 0..1.
        side: Of a window, as a fraction of the picture.
    """

    descriptors_qd: Descriptors
    centres_q2: NDArray[np.float32]
    side: float


def describe(features: Features, logits_n1ss: Tensor) -> Descriptors:
    """Descriptors [n, d] of masks, of unit length; that of an empty mask is zero."""
    moments_1mhw = _moments(features)
    h, w = moments_1mhw.shape[-2:]
    inside_nq = F.adaptive_avg_pool2d((logits_n1ss > 0).float(), (h, w)).flatten(1)
    with torch.autocast(inside_nq.device.type, enabled=False):
        sums_nm = inside_nq @ moments_1mhw[0].flatten(1).t()
    return _unit(sums_nm / inside_nq.sum(dim=1, keepdim=True).clamp(min=1e-6))


def describe_windows(features: Features, side: float) -> Windows:
    """Descriptors of windows all over a picture, of `side` as a fraction of it."""
    moments_1mhw = _moments(features)
    cells = moments_1mhw.shape[-1]
    window = min(cells, max(1, round(side * cells)))
    means_1mhw = F.avg_pool2d(moments_1mhw, window, stride=WINDOW_STEP)
    across = means_1mhw.shape[-1]
    at_s = (np.arange(across, dtype=np.float32) * WINDOW_STEP + window / 2) / cells
    y_ss, x_ss = np.meshgrid(at_s, at_s, indexing="ij")
    centres_q2 = np.stack([x_ss.ravel(), y_ss.ravel()], axis=1).astype(np.float32)
    return Windows(_unit(means_1mhw[0].flatten(1).t()), centres_q2, window / cells)


def distances(a_nd: Descriptors, b_kd: Descriptors) -> NDArray[np.float32]:
    """Distances [n, k] of descriptors, 0..2."""
    return np.asarray(1 - a_nd @ b_kd.T, np.float32)


def _moments(features: Features) -> Tensor:
    """Features and their squares [1, 2c, h, w], float32."""
    level_1chw = (features.high_res[-1] if features.high_res else features.top_1chw).float()
    return torch.cat([level_1chw, level_1chw.square()], dim=1)


def _unit(moments_nm: Tensor) -> Descriptors:
    """Means and deviations of unit length together, of means and means of squares."""
    mean_nc, square_nc = moments_nm.chunk(2, dim=1)
    deviation_nc = (square_nc - mean_nc.square()).clamp(min=0).sqrt()
    halves = [F.normalize(half_nc, dim=1) for half_nc in (mean_nc, deviation_nc)]
    return np.asarray(torch.cat(halves, dim=1).cpu().numpy() / math.sqrt(2), np.float32)
