"""Masks at source resolution, of logits of a network."""

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tracker.engine.masks import fill_box, source_masks

LOW = 96
SIZES = [(480, 854), (720, 1280), (1080, 1920), (97, 131), (60, 40), (96, 96)]


def blobs(seed: int, count: int) -> NDArray[np.float32]:
    """Smooth logits around 0 within a part of the picture, well below it elsewhere."""
    random = np.random.default_rng(seed)
    logits_nss = np.full((count, LOW, LOW), -4, np.float32)
    for logits_ss in logits_nss:
        y, x = random.integers(0, LOW - 8, 2)
        height, width = random.integers(1, LOW - y + 1), random.integers(1, LOW - x + 1)
        knots = random.normal(0, 3, (6, 6)).astype(np.float32)
        logits_ss[y : y + height, x : x + width] = cv2.resize(knots, (int(width), int(height)))
    return logits_nss


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_mask_is_what_the_whole_picture_interpolated_gives(height: int, width: int) -> None:
    logits_nss = blobs(height, 40)
    masks_nhw = source_masks(torch.from_numpy(logits_nss)[:, None], height, width)
    for mask_hw, logits_ss in zip(masks_nhw, logits_nss, strict=True):
        whole_hw = cv2.resize(logits_ss, (width, height), interpolation=cv2.INTER_LINEAR)
        assert np.array_equal(mask_hw, whole_hw > 0)
    assert masks_nhw.any(axis=(1, 2)).sum() > 20


def test_an_object_that_reaches_all_edges_reaches_them_in_the_mask() -> None:
    masks_nhw = source_masks(torch.ones(1, 1, LOW, LOW), 480, 854)
    assert masks_nhw.all()


def test_an_absent_object_has_an_empty_mask() -> None:
    assert not source_masks(torch.full((2, 1, LOW, LOW), -1024.0), 480, 854).any()


BOX = (0.25, 0.25, 0.75, 0.75)


def test_a_box_with_next_to_nothing_in_it_is_filled_by_half_where_logits_are_highest() -> None:
    logits_n1ss = torch.full((1, 1, LOW, LOW), -6.0)
    logits_n1ss[..., 24:72, 24:72] = -torch.linspace(1, 3, 48)  # surer to the left
    logits_n1ss[..., 24, 71] = 1.0
    filled = fill_box(logits_n1ss, BOX)[0, 0] > 0
    assert filled[24:72, 24:47].all()
    assert not filled[25:72, 49:].any()
    assert not filled[:, :24].any()
    assert not filled[:24].any()


def test_a_box_in_which_the_object_is_seen_is_left_alone() -> None:
    logits_n1ss = torch.full((1, 1, LOW, LOW), -6.0)
    logits_n1ss[..., 30:50, 30:50] = 2.0
    assert torch.equal(fill_box(logits_n1ss, BOX), logits_n1ss)


def test_a_box_smaller_than_a_pixel_changes_nothing() -> None:
    logits_n1ss = torch.full((1, 1, LOW, LOW), -6.0)
    assert torch.equal(fill_box(logits_n1ss, (0.5, 0.5, 0.501, 0.501)), logits_n1ss)
