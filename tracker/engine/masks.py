"""From low-resolution logits to masks and boxes at source resolution."""

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

HOLE_LOGIT = 0.1
OUTSIDE_LOGIT = -10.0
BOX_MARGIN = 0.05
LEAST_OF_BOX = 0.05  # of its area


def fill_holes(logits_n1ss: Tensor, max_area: int) -> Tensor:
    """Raise small holes to a weak foreground, as sam2's `fill_holes_in_mask_scores`.

    A hole is an 8-connected region of background (logit <= 0) of at most `max_area` low-resolution
    pixels; 0 fills nothing.
    """
    if max_area <= 0:
        return logits_n1ss
    background = (logits_n1ss[:, 0] <= 0).cpu().numpy().astype(np.uint8)
    holes = np.zeros(background.shape, np.bool_)
    for hole_ss, background_ss in zip(holes, background, strict=True):
        _, labels_ss, stats, _ = cv2.connectedComponentsWithStats(background_ss, connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] <= max_area
        small[0] = False  # label 0 is the mask itself
        hole_ss[...] = small[labels_ss]
    if not holes.any():
        return logits_n1ss
    return torch.where(
        torch.from_numpy(holes[:, None]).to(logits_n1ss.device), HOLE_LOGIT, logits_n1ss
    )


Box = tuple[float, float, float, float]
"""Edges x0, y0, x1, y1 as fractions of the picture, 0..1."""


def confine_to_box(logits_n1ss: Tensor, box_xyxy: Box) -> Tensor:
    """Rule out what lies more than `BOX_MARGIN` of its size outside a box."""
    x0, y0, x1, y1 = box_xyxy
    margin_x, margin_y = BOX_MARGIN * (x1 - x0), BOX_MARGIN * (y1 - y0)
    box_xyxy = (x0 - margin_x, y0 - margin_y, x1 + margin_x, y1 + margin_y)
    inside_ss = _inside(logits_n1ss, box_xyxy)
    return torch.where(inside_ss, logits_n1ss, logits_n1ss.clamp(max=OUTSIDE_LOGIT))


def fill_box(logits_n1ss: Tensor, box_xyxy: Box) -> Tensor:
    """Raise the logits in a box until half of it is the object, where next to nothing would be.

    A network that is not sure of what it sees has low logits all over the object, and yet higher
    ones there than beside it.
    """
    inside_ss = _inside(logits_n1ss, box_xyxy)
    within = logits_n1ss[0, 0][inside_ss]
    if within.numel() == 0 or (within > 0).float().mean() >= LEAST_OF_BOX:
        return logits_n1ss
    return torch.where(inside_ss, logits_n1ss - within.median(), logits_n1ss)


def _inside(logits_n1ss: Tensor, box_xyxy: Box) -> Tensor:
    """Low-resolution pixels that have their centre in a box, bool [s, s]."""
    x0, y0, x1, y1 = box_xyxy
    side = logits_n1ss.shape[-1]
    centres = (torch.arange(side, device=logits_n1ss.device) + 0.5) / side
    across, down = (centres >= x0) & (centres <= x1), (centres >= y0) & (centres <= y1)
    return down[:, None] & across


def source_masks(logits_n1ss: Tensor, height: int, width: int) -> NDArray[np.bool_]:
    """Masks [n, height, width] of logits, upsampled as the official predictor does.

    On a CPU OpenCV interpolates, which computes the same in a tenth of the time, and only around
    the object.
    """
    if logits_n1ss.device.type == "cpu":
        masks_nhw = np.zeros((logits_n1ss.shape[0], height, width), np.bool_)
        for mask_hw, logits_ss in zip(masks_nhw, logits_n1ss[:, 0].numpy(), strict=True):
            _upsample(logits_ss, mask_hw)
        return masks_nhw
    logits_n1hw = F.interpolate(logits_n1ss, (height, width), mode="bilinear", align_corners=False)
    masks: NDArray[np.bool_] = (logits_n1hw[:, 0] > 0).cpu().numpy()
    return masks


def _upsample(logits_ss: NDArray[np.float32], mask_hw: NDArray[np.bool_]) -> None:
    """Set where upsampled logits are above 0, in a mask that is all False."""
    inside_ss = logits_ss > 0
    if not inside_ss.any():
        return
    rows, high_rows = _span(np.asarray(inside_ss.any(axis=1)), mask_hw.shape[0])
    columns, high_columns = _span(np.asarray(inside_ss.any(axis=0)), mask_hw.shape[1])
    part_hw = mask_hw[high_rows, high_columns]
    size = (part_hw.shape[1], part_hw.shape[0])
    logits_hw = cv2.resize(logits_ss[rows, columns], size, interpolation=cv2.INTER_LINEAR)
    np.greater(logits_hw, 0, out=part_hw)


def _span(inside_s: NDArray[np.bool_], high: int) -> tuple[slice, slice]:
    """The part of an axis that an object needs: of the low resolution, and of `high` pixels.

    It holds the object's neighbours, between which and the object pixels are interpolated, and
    begins and ends where both resolutions have the edge of a pixel.
    """
    low, at = len(inside_s), np.flatnonzero(inside_s)
    unit = low // math.gcd(low, high)
    first = max(0, int(at[0]) - 1) // unit * unit
    stop = min(low, -(-(int(at[-1]) + 2) // unit) * unit)
    return slice(first, stop), slice(first * high // low, stop * high // low)


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
