"""Masks that follow edges: where colours tell, how far, and what stays as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tracker.engine import OFFICIAL, Policy, Session
from tracker.engine.masks import source_masks
from tracker.engine.refine import GuidedFilter
from tracker.errors import SnapshotError
from tracker.models import load_model
from tracker.types import Prompt

SIDE = 128  # of the picture; a mask has a quarter of it


def ground(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(90, 110, (SIDE, SIDE, 3), np.uint8)


def coarse(mask_hw: NDArray[np.bool_], move: int = 0) -> torch.Tensor:
    """Logits of a mask at a quarter of its size, moved by some of its pixels."""
    moved = np.roll(mask_hw, move, axis=1)
    share = moved.reshape(SIDE // 4, 4, SIDE // 4, 4).mean(axis=(1, 3))
    return torch.from_numpy(share * 8 - 4).float()[None, None]


def iou(a_hw: NDArray[np.bool_], b_hw: NDArray[np.bool_]) -> float:
    return float((a_hw & b_hw).sum() / (a_hw | b_hw).sum())


def followed(guide: GuidedFilter, logits: torch.Tensor) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = guide.follow(logits)[0, 0].numpy() > 0
    return mask


def triangle() -> NDArray[np.bool_]:
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.asarray((y > 30) & (y < 100) & (abs(x - 64) < (y - 30) * 0.6))


def test_a_mask_that_lies_beside_its_object_finds_its_edges() -> None:
    picture, truth = ground(), triangle()
    picture[truth] = (180, 60, 40)
    logits = coarse(truth, move=3)
    plain = np.kron(logits[0, 0].numpy() > 0, np.ones((4, 4))).astype(bool)
    found = followed(GuidedFilter(picture, SIDE // 4), logits)
    assert iou(plain, truth) < 0.92 < 0.96 < iou(found, truth)


def test_without_edges_it_is_smoothed_only() -> None:
    """Its corners become round; noise hardly moves what is between."""
    truth = triangle()
    assert iou(followed(GuidedFilter(ground(), SIDE // 4), coarse(truth)), truth) > 0.88
    flat = np.full((SIDE, SIDE, 3), 100, np.uint8)
    assert iou(followed(GuidedFilter(flat, SIDE // 4), coarse(truth)), truth) > 0.9


def test_several_masks_do_not_disturb_each_other() -> None:
    picture, truth = ground(), triangle()
    picture[truth] = (180, 60, 40)
    one, other = coarse(truth), coarse(np.roll(truth, 20, axis=0))
    none = torch.full_like(one, -5.0)
    together = GuidedFilter(picture, SIDE // 4).follow(torch.cat([one, none, other]))
    assert torch.equal(together[:1], GuidedFilter(picture, SIDE // 4).follow(one))
    assert torch.equal(together[2:], GuidedFilter(picture, SIDE // 4).follow(other))
    assert (together[1] < 0).all()


def test_what_would_be_wiped_out_is_kept() -> None:
    """A mask of one pixel is less than half of any square around it."""
    logits = torch.full((1, 1, SIDE // 4, SIDE // 4), -6.0)
    logits[..., 10, 20] = 6.0
    found = followed(GuidedFilter(ground(), SIDE // 4), logits)
    assert found[40:44, 80:84].sum() == found.sum() >= 8


def test_objects_at_the_rim_are_followed_to_it() -> None:
    picture = ground()
    picture[:, :50] = (180, 60, 40)
    truth = np.zeros((SIDE, SIDE), np.bool_)
    truth[:, :50] = True
    assert iou(followed(GuidedFilter(picture, SIDE // 4), coarse(truth)), truth) > 0.98


def tracked(policy: Policy) -> tuple[Session, NDArray[np.bool_], torch.Tensor]:
    """A session after three frames of a texture, its object's mask, and the logits behind it."""
    session = Session(load_model("pico", device="cpu"), policy)
    image = np.repeat(np.repeat(ground()[:32, :32], 8, axis=0), 8, axis=1)
    session.step(image)
    session.prompt(Prompt(1, box_xyxy=(60.0, 60.0, 180.0, 200.0)))
    session.step(image)
    (seen,) = session.step(image).objects
    return session, seen.mask_hw, session.state.objects.rows[0].outputs[-1].decoded.logits_n1ss


@pytest.mark.slow
def test_only_what_is_published_follows_edges() -> None:
    (_, ours_hw, ours), (_, plain_hw, plain) = (
        tracked(Policy()),
        tracked(Policy(follow_edges=False)),
    )
    assert torch.equal(ours, plain) and (plain > 0).any()
    assert not np.array_equal(ours_hw, plain_hw) and iou(ours_hw, plain_hw) > 0.5


@pytest.mark.slow
def test_a_policy_may_leave_edges_alone_as_the_official_does() -> None:
    session, mask_hw, logits = tracked(Policy(follow_edges=False))
    assert session.state.guide is None and mask_hw.any()
    assert np.array_equal(mask_hw, source_masks(logits, *mask_hw.shape)[0])
    assert tracked(OFFICIAL)[0].state.guide is None


@pytest.mark.slow
def test_a_snapshot_publishes_the_same_masks(tmp_path: Path) -> None:
    session, mask_hw, _ = tracked(Policy())
    session.save(tmp_path / "s")
    again = Session.load(tmp_path / "s", session.model)
    assert np.array_equal(again.result().objects[0].mask_hw, mask_hw)


@pytest.mark.slow
def test_a_snapshot_without_its_picture_is_refused(tmp_path: Path) -> None:
    session, _, _ = tracked(Policy())
    session.state.guide = None
    session.save(tmp_path / "s")
    with pytest.raises(SnapshotError, match=r"damaged.*picture"):
        Session.load(tmp_path / "s", session.model)
