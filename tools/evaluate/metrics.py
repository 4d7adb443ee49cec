"""Region and boundary scores of masks, and their statistics over a sequence.

They follow the evaluation protocol of DAVIS 2016 (Perazzi et al., CVPR 2016): J is the overlap
of two masks, F the harmonic mean of precision and recall of their boundaries.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BOUNDARY_TOLERANCE = 0.008  # of the image diagonal
DECAY_BINS = 4


def region_j(predicted_hw: NDArray[np.bool_], true_hw: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of the same size; 1 where both are empty."""
    union = np.count_nonzero(predicted_hw | true_hw)
    if union == 0:
        return 1.0
    return np.count_nonzero(predicted_hw & true_hw) / union


def boundary_f(predicted_hw: NDArray[np.bool_], true_hw: NDArray[np.bool_]) -> float:
    """F-measure of two masks' boundaries, 0..1.

    A boundary pixel is right where the other boundary passes within 0.008 of the image diagonal,
    rounded up to whole pixels. Two masks without boundary agree (1); one without the other does
    not (0).
    """
    height, width = true_hw.shape
    radius_px = math.ceil(BOUNDARY_TOLERANCE * math.hypot(height, width))
    predicted = mask_boundary(predicted_hw)
    true = mask_boundary(true_hw)
    n_predicted, n_true = np.count_nonzero(predicted), np.count_nonzero(true)
    if n_predicted == 0 and n_true == 0:
        return 1.0
    if n_predicted == 0 or n_true == 0:
        return 0.0
    precision = np.count_nonzero(predicted & _dilated(true, radius_px)) / n_predicted
    recall = np.count_nonzero(true & _dilated(predicted, radius_px)) / n_true
    if precision + recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def mask_boundary(mask_hw: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose right, lower or lower right neighbour has another value, bool [H, W].

    Neighbours outside the image count as equal, so a mask that fills the image has no boundary.
    """
    padded = np.pad(mask_hw, ((0, 1), (0, 1)), mode="edge")
    right, lower, lower_right = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    boundary: NDArray[np.bool_] = (mask_hw ^ right) | (mask_hw ^ lower) | (mask_hw ^ lower_right)
    return boundary


def _dilated(mask_hw: NDArray[np.bool_], radius_px: int) -> NDArray[np.bool_]:
    """The mask grown by a disk."""
    span = np.arange(-radius_px, radius_px + 1)
    disk = (span[:, None] ** 2 + span[None, :] ** 2 <= radius_px**2).astype(np.uint8)
    return cv2.dilate(mask_hw.astype(np.uint8), disk).astype(np.bool_)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of one score over a sequence.

    Attributes:
        mean: Mean over frames.
        recall: Share of frames above one half.
        decay: Mean of the first quarter minus mean of the last: how much is lost with time.
    """

    mean: float
    recall: float
    decay: float


def statistics(scores: NDArray[np.float64]) -> Statistics:
    """Statistics of one score per frame, float64 [N] with N >= 1, in the order of time.

    Neighbouring quarters share their border frame, as in the protocol.
    """
    borders = np.round(np.linspace(1, len(scores), DECAY_BINS + 1) + 1e-10).astype(int) - 1
    first = scores[borders[0] : borders[1] + 1]
    last = scores[borders[-2] : borders[-1] + 1]
    return Statistics(
        mean=float(scores.mean()),
        recall=float((scores > 0.5).mean()),
        decay=float(first.mean() - last.mean()),
    )
