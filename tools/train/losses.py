"""SAM 2's losses: focal and dice of the best mask, L1 of predicted qualities, and the object score.

A frame without the object trains the object score alone. Shapes: n clips, a candidates.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tools.train.forward import Guess

FOCAL_WEIGHT, DICE_WEIGHT, IOU_WEIGHT, PRESENCE_WEIGHT = 20.0, 1.0, 1.0, 1.0
FOCAL_ALPHA = 0.25


@dataclass(frozen=True, slots=True)
class Losses:
    """Parts of a loss, each a scalar, averaged over what they apply to; and what was reached.

    Attributes:
        focal: Pixel by pixel, of the best candidate.
        dice: Of its overlap.
        iou: Absolute error of predicted qualities.
        presence: Cross entropy of the object score.
        reached_n: IoU of the mask that tracking would take; NaN where the object is absent.
    """

    focal: Tensor
    dice: Tensor
    iou: Tensor
    presence: Tensor
    reached_n: Tensor

    @property
    def total(self) -> Tensor:
        """The weighted sum."""
        return (
            FOCAL_WEIGHT * self.focal
            + DICE_WEIGHT * self.dice
            + IOU_WEIGHT * self.iou
            + PRESENCE_WEIGHT * self.presence
        )


def guess_losses(guess: Guess, truth_n1ss: Tensor, stride: int) -> Losses:
    """Losses of one guess.

    Args:
        guess: Of one frame.
        truth_n1ss: bool, at input resolution.
        stride: Masks are compared at every so many pixels, on averages of them.
    """
    truth_n1ss = truth_n1ss.float()
    if stride > 1:
        truth_n1ss = F.avg_pool2d(truth_n1ss, stride)
    logits_nass = F.interpolate(
        guess.logits_nass, truth_n1ss.shape[-2:], mode="bilinear", align_corners=False
    )
    visible_n = truth_n1ss.flatten(1).any(dim=1)
    focal_na, dice_na = focal_loss(logits_nass, truth_n1ss), dice_loss(logits_nass, truth_n1ss)
    best_n = (FOCAL_WEIGHT * focal_na + DICE_WEIGHT * dice_na).argmin(dim=1)
    row_n = torch.arange(len(best_n), device=best_n.device)
    actual_na = overlap(logits_nass, truth_n1ss)
    chosen_n = actual_na[row_n, guess.chosen_n] * (guess.presence_n1[:, 0] > 0)
    return Losses(
        focal=_mean_where(visible_n, focal_na[row_n, best_n]),
        dice=_mean_where(visible_n, dice_na[row_n, best_n]),
        iou=_mean_where(visible_n, (guess.iou_na - actual_na).abs().mean(dim=1)),
        presence=F.binary_cross_entropy_with_logits(guess.presence_n1[:, 0], visible_n.float()),
        reached_n=torch.where(visible_n, chosen_n, torch.nan).detach(),
    )


def mean_losses(losses: list[Losses]) -> Losses:
    """The mean over guesses; what was reached is kept for all of them."""
    return Losses(
        focal=torch.stack([part.focal for part in losses]).mean(),
        dice=torch.stack([part.dice for part in losses]).mean(),
        iou=torch.stack([part.iou for part in losses]).mean(),
        presence=torch.stack([part.presence for part in losses]).mean(),
        reached_n=torch.cat([part.reached_n for part in losses]),
    )


def focal_loss(logits_nass: Tensor, truth_n1ss: Tensor) -> Tensor:
    """Focal loss [n, a] of candidates against truths 0..1; gamma is 2."""
    truth = truth_n1ss.expand_as(logits_nass)
    probability = logits_nass.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits_nass, truth, reduction="none")
    miss = probability + truth * (1 - 2 * probability)
    weight = (1 - FOCAL_ALPHA) + truth * (2 * FOCAL_ALPHA - 1)
    return (weight * miss.square() * entropy).mean(dim=(-1, -2))


def dice_loss(logits_nass: Tensor, truth_n1ss: Tensor) -> Tensor:
    """Dice loss [n, a] of candidates against truths 0..1."""
    probability = logits_nass.sigmoid().flatten(2)
    truth = truth_n1ss.flatten(2)
    both = torch.einsum("nap,nbp->na", probability, truth)
    return 1 - (2 * both + 1) / (probability.sum(-1) + truth.sum(-1) + 1)


@torch.no_grad()
def overlap(logits_nass: Tensor, truth_n1ss: Tensor) -> Tensor:
    """IoU [n, a] of candidates with truths; 0 where both are empty."""
    guess, truth = logits_nass > 0, truth_n1ss > 0.5
    both = (guess & truth).sum(dim=(-1, -2)).float()
    either = (guess | truth).sum(dim=(-1, -2)).float()
    return both / either.clamp(min=1)


def _mean_where(chosen_n: Tensor, values_n: Tensor) -> Tensor:
    """Mean of the chosen values, 0 if there are none."""
    return torch.where(chosen_n, values_n, 0).sum() / chosen_n.sum().clamp(min=1)
