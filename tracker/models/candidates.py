"""Candidate masks of a SAM mask decoder, and the one that is taken of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from tracker.models.base import Candidates, Clicks, Decoded, Features
from tracker.models.distractors import find_distractors

ABSENT_LOGIT = -1024.0  # NO_OBJ_SCORE of sam2
SURELY_THERE = 3.0  # object score logit, a score of 0.95

#: Object pointers [n, c] of output tokens [n, c] and object score logits [n, 1].
Pointers = Callable[[Tensor, Tensor], Tensor]


class CandidateDecoder(ABC):
    """The part of a `VideoModel` that decodes: all candidates, then the best of each object."""

    @abstractmethod
    def decode_candidates(
        self,
        features: Features,
        conditioned_nchw: Tensor,
        *,
        first: bool,
        clicks: Clicks | None,
        previous_n1ss: Tensor | None,
        shows_masks: bool,
    ) -> Candidates:
        """All candidates of the mask decoder; the first half of `decode`, with its arguments."""

    @abstractmethod
    def _pointers(self, tokens_nc: Tensor, presence_n1: Tensor) -> Tensor:
        """Object pointers of output tokens; those of absent objects are learned ones."""

    def decode(
        self,
        features: Features,
        conditioned_nchw: Tensor,
        *,
        first: bool = False,
        clicks: Clicks | None = None,
        previous_n1ss: Tensor | None = None,
        shows_masks: bool = False,
        want_distractors: bool = False,
        is_there: bool = False,
    ) -> Decoded:
        """Masks of n objects from clicks, or from memory alone; see `VideoModel.decode`.

        Follows `SAM2Base._forward_sam_heads`, less the upsampling of masks that are not chosen.
        """
        candidates = self.decode_candidates(
            features,
            conditioned_nchw,
            first=first,
            clicks=clicks,
            previous_n1ss=previous_n1ss,
            shows_masks=shows_masks,
        )
        if is_there:
            presence_n1 = candidates.presence_n1.clamp(min=SURELY_THERE)
            candidates = replace(candidates, presence_n1=presence_n1)
        decoded = select_mask(candidates, self._pointers)
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
