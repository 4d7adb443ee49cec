"""From low-resolution logits to masks and boxes at source resolution."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

HOLE_LOGIT = 0.1


def fill_holes(logits_n1ss: Tensor, max_area: int) -> Tensor:
    """Raise small holes to a weak foreground, as sam2's `fill_holes_in_mask_scores`.

    A hole is an 8-connected region of background (logit <= 0) of at most `max_area` low-resolution
    pixels; 0 fills nothing.
    """
    if max_area <= 0:
        return logits_n1ss
    background = (logits_n1ss[:, 0] <= 0).cpu().numpy().astype(np.uint8)
    holes = np.zeros_like(background)
    for hole_ss, background_ss in zip(holes, background, strict=True):
        if not background_ss.all():
            hole_ss[...] = _small_regions(background_ss, max_area)
    if not holes.any():
        return logits_n1ss
    is_hole_n1ss = torch.from_numpy(holes[:, None]).to(logits_n1ss.device).bool()
    return torch.where(is_hole_n1ss, HOLE_LOGIT, logits_n1ss)


def _small_regions(binary_ss: NDArray[np.uint8], max_area: int) -> NDArray[np.bool_]:
    _, labels_ss, stats, _ = cv2.connectedComponentsWithStats(binary_ss, connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= max_area
    small[0] = False
    return np.asarray(small[labels_ss], dtype=np.bool_)


def source_masks(logits_n1ss: Tensor, height: int, width: int) -> NDArray[np.bool_]:
    """Masks [n, height, width] of logits, upsampled as the official predictor does."""
    logits_n1hw = F.interpolate(logits_n1ss, (height, width), mode="bilinear", align_corners=False)
    masks: NDArray[np.bool_] = (logits_n1hw[:, 0] > 0).cpu().numpy()
    return masks


def mask_box(mask_hw: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Edges x0, y0, x1, y1 of a mask's box in pixels, x1 and y1 outside it; None if empty."""
    rows = np.flatnonzero(mask_hw.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask_hw[rows[0] : rows[-1] + 1].any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def input_mask(mask_hw: NDArray[np.bool_], size: int, device: torch.device) -> Tensor:
    """A source mask at input resolution, float32 0 or 1 [1, 1, size, size], as `add_new_mask`."""
    mask_11hw = torch.from_numpy(np.ascontiguousarray(mask_hw))[None, None].float().to(device)
    if mask_hw.shape == (size, size):
        return mask_11hw
    resized = F.interpolate(
        mask_11hw, (size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return (resized >= 0.5).float()
