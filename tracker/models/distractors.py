"""Detection of distractors, which look like an object, from the mask decoder's candidates.

An idea of DAM4SAM (Videnovic et al., 2025), which compares the decoder's candidates. Those of pico
are all alike, and a configuration without `multimask_output_for_tracking` has a single one on
tracked frames; so what the chosen mask holds just under its threshold is a candidate too.
"""

import torch
from torch import Tensor

DISTRACTOR_IOU = 0.1  # predicted quality by which a distractor may fall short of the chosen mask
DISTRACTOR_LOGIT = 1.0  # logit by which a distractor may fall short of being in the chosen mask
DISTRACTOR_BOX = 0.7  # share of the chosen mask's box in the box of both, at most


def find_distractors(logits_nass: Tensor, iou_na: Tensor) -> Tensor:
    """True if a distractor of each object is in view, bool [n].

    It is if another candidate is about as good as the best one and the box around both is much
    larger than that of the best, or if the best one would grow as much at a lower threshold.

    Args:
        logits_nass: Mask logits of a candidates.
        iou_na: Their predicted quality.
    """
    row_n, best_n = torch.arange(len(iou_na), device=iou_na.device), iou_na.argmax(dim=1)
    best_iou_n1 = iou_na[row_n, best_n].unsqueeze(1)
    generous_n1ss = logits_nass[row_n, best_n].unsqueeze(1) > -DISTRACTOR_LOGIT
    there_nass = torch.cat([logits_nass > 0, generous_n1ss], dim=1)
    columns_nas, rows_nas = there_nass.any(dim=2), there_nass.any(dim=3)
    best_columns_n1s = columns_nas[row_n, best_n].unsqueeze(1)
    best_rows_n1s = rows_nas[row_n, best_n].unsqueeze(1)
    best_box_n1 = _extent(best_columns_n1s) * _extent(best_rows_n1s)
    both_box_na = _extent(columns_nas | best_columns_n1s) * _extent(rows_nas | best_rows_n1s)
    as_good_na = torch.cat([iou_na, best_iou_n1], dim=1) >= best_iou_n1 - DISTRACTOR_IOU
    return (as_good_na & (best_box_n1 < DISTRACTOR_BOX * both_box_na)).any(dim=1)


def _extent(there_nas: Tensor) -> Tensor:
    """From the first to the last True of a line, [n, a]; 0 where there is none."""
    size = there_nas.shape[-1]
    position_s = torch.arange(1, size + 1, device=there_nas.device)
    last_na = (there_nas * position_s).amax(dim=-1)
    first_na = size + 1 - (there_nas * position_s.flip(0)).amax(dim=-1)
    return (last_na - first_na + 1).clamp(min=0)
