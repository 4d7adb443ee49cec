"""Candidate masks of a SAM mask decoder, and the one that is taken of them."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from tracker.models.base import Candidates, Decoded
from tracker.models.distractors import find_distractors

ABSENT_LOGIT = -1024.0  # NO_OBJ_SCORE of sam2
SURELY_THERE = 3.0  # object score logit, a score of 0.95

#: Object pointers [n, c] of output tokens [n, c] and object score logits [n, 1].
Pointers = Callable[[Tensor, Tensor], Tensor]


def decoded_of(
    candidates: Candidates, pointers: Pointers, *, want_distractors: bool, is_there: bool
) -> Decoded:
    """The decoding of candidates, as `VideoModel.decode` returns it."""
    if is_there:
        presence_n1 = candidates.presence_n1.clamp(min=SURELY_THERE)
        candidates = replace(candidates, presence_n1=presence_n1)
    decoded = select_mask(candidates, pointers)
    if not want_distractors:
        return decoded
    distractor_n = find_distractors(candidates.logits_nass, candidates.iou_na)
    return replace(decoded, distractor_n=distractor_n)


def select_mask(candidates: Candidates, pointers: Pointers) -> Decoded:
    """The best candidates by predicted quality, nothing where the object is absent."""
    iou_na, tokens_nac = candidates.iou_na, candidates.tokens_nac
    row_n = torch.arange(len(iou_na), device=iou_na.device)
    best_n = iou_na.argmax(dim=-1)
    best_token_n = best_n.clamp(max=tokens_nac.shape[1] - 1)
    logits_n1ss = candidates.logits_nass[row_n, best_n].unsqueeze(1).float()
    presence_n1 = candidates.presence_n1
    return Decoded(
        logits_n1ss=torch.where(presence_n1[..., None, None] > 0, logits_n1ss, ABSENT_LOGIT),
        presence_n1=presence_n1.float(),
        iou_n=iou_na[row_n, best_n].float(),
        pointers_nc=pointers(tokens_nac[row_n, best_token_n], presence_n1).float(),
    )
