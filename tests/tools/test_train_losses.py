"""The losses on cases worked out by hand."""

import math

import pytest
import torch

from tools.train.forward import Guess
from tools.train.losses import dice_loss, focal_loss, guess_losses, mean_losses, overlap

SIDE = 8


def half_mask(n: int = 1) -> torch.Tensor:
    mask = torch.zeros(n, 1, SIDE, SIDE, dtype=torch.bool)
    mask[..., : SIDE // 2] = True
    return mask


def logits_of(mask: torch.Tensor, strength: float) -> torch.Tensor:
    return (mask.float() * 2 - 1) * strength


def guess(logits: torch.Tensor, iou: list[list[float]], presence: list[float]) -> Guess:
    iou_na = torch.tensor(iou)
    return Guess(1, logits, iou_na, torch.tensor(presence)[:, None], iou_na.argmax(dim=1))


def test_focal_loss_of_a_coin() -> None:
    """At p = 1/2: alpha * 1/4 * ln 2, alpha 1/4 on the object and 3/4 beside it."""
    loss = focal_loss(torch.zeros(1, 2, SIDE, SIDE), half_mask().float())
    assert loss.shape == (1, 2)
    assert loss[0, 0].item() == pytest.approx(0.5 * 0.25 * math.log(2))


def test_dice_loss_of_right_wrong_and_half() -> None:
    truth = half_mask().float()
    right, wrong = logits_of(truth, 50), logits_of(1 - truth, 50)
    loss = dice_loss(torch.cat([right, wrong, torch.zeros_like(right)], dim=1), truth)
    area = truth.sum().item()
    assert loss[0].tolist() == pytest.approx(
        [0, 1 - 1 / (2 * area + 1), 1 - (area + 1) / (2 * area + 1)], abs=1e-6
    )


def test_overlap_counts_pixels() -> None:
    truth = half_mask().float()
    quarter = torch.zeros_like(truth)
    quarter[..., : SIDE // 4] = 1
    both = torch.cat([logits_of(quarter, 1), logits_of(truth, 1)], dim=1)
    assert overlap(both, truth)[0].tolist() == [0.5, 1.0]
    assert overlap(logits_of(0 * truth, 1), 0 * truth).item() == 0


def test_the_best_candidate_is_trained_and_all_qualities() -> None:
    truth = half_mask()
    good, bad = logits_of(truth.float(), 9), logits_of(1 - truth.float(), 9)
    logits = torch.cat([bad, good, bad], dim=1).requires_grad_(True)
    losses = guess_losses(guess(logits, [[0.5, 0.75, 0.0]], [5.0]), truth, 1)
    assert losses.iou.item() == pytest.approx((0.5 + 0.25 + 0) / 3)
    assert losses.reached_n.item() == 1
    losses.total.backward()
    assert logits.grad is not None
    assert logits.grad[0, 1].abs().sum() > 0
    assert logits.grad[0, [0, 2]].abs().sum() == 0


def test_an_absent_object_trains_the_object_score_alone() -> None:
    truth = half_mask(2)
    truth[1] = False
    logits = torch.zeros(2, 1, SIDE, SIDE, requires_grad=True)
    losses = guess_losses(guess(logits, [[0.5], [0.9]], [4.0, 4.0]), truth, 1)
    expected = (math.log1p(math.exp(-4)) + math.log1p(math.exp(4))) / 2
    assert losses.presence.item() == pytest.approx(expected, rel=1e-5)
    assert losses.iou.item() == pytest.approx(0.5)
    assert losses.reached_n.isnan().tolist() == [False, True]
    losses.total.backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().sum() > 0 and logits.grad[1].abs().sum() == 0


def test_an_object_taken_for_absent_still_trains_its_mask_and_no_loss_is_huge() -> None:
    logits = torch.zeros(1, 3, SIDE, SIDE, requires_grad=True)
    losses = guess_losses(guess(logits, [[0.1, 0.2, 0.3]], [-6.0]), half_mask(), 1)
    assert losses.total.item() < 20
    assert losses.reached_n.item() == 0
    losses.total.backward()
    assert logits.grad is not None and logits.grad.abs().sum() > 0


def test_a_stride_compares_averages() -> None:
    truth = half_mask()
    logits = logits_of(truth.float(), 9)[..., ::2, ::2]
    losses = guess_losses(guess(logits, [[1.0]], [9.0]), truth, 2)
    assert losses.iou.item() == pytest.approx(0)
    assert losses.total.item() < 0.01


def test_the_mean_keeps_what_every_guess_reached() -> None:
    truth = half_mask()
    one = guess_losses(guess(logits_of(truth.float(), 9), [[1.0]], [9.0]), truth, 1)
    two = guess_losses(guess(logits_of(1 - truth.float(), 9), [[1.0]], [9.0]), truth, 1)
    mean = mean_losses([one, two])
    assert mean.total.item() == pytest.approx((one.total + two.total).item() / 2)
    assert mean.reached_n.tolist() == [1, 0]
