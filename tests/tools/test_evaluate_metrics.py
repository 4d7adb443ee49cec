"""Region and boundary scores against brute force, by hand, and by their invariants."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tools.evaluate.metrics import boundary_f, mask_boundary, region_j, statistics

Mask = NDArray[np.bool_]


def rectangle(height: int, width: int, top: int, left: int, bottom: int, right: int) -> Mask:
    mask = np.zeros((height, width), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def brute_boundary(mask: Mask) -> list[tuple[int, int]]:
    height, width = mask.shape
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if any(
            mask[y, x] != mask[min(y + dy, height - 1), min(x + dx, width - 1)]
            for dy, dx in ((0, 1), (1, 0), (1, 1))
        )
    ]


def brute_share_near(pixels: list[tuple[int, int]], others: list[tuple[int, int]], r: int) -> float:
    near = [min(math.dist(pixel, other) for other in others) <= r for pixel in pixels]
    return sum(near) / len(near)


def brute_f(predicted: Mask, true: Mask) -> float:
    a, b = brute_boundary(predicted), brute_boundary(true)
    if not a or not b:
        return float(a == b)
    radius = math.ceil(0.008 * math.hypot(*true.shape))
    precision, recall = brute_share_near(a, b, radius), brute_share_near(b, a, radius)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def brute_j(predicted: Mask, true: Mask) -> float:
    cells = list(zip(predicted.ravel(), true.ravel(), strict=True))
    union = sum(bool(p or t) for p, t in cells)
    return sum(bool(p and t) for p, t in cells) / union if union else 1.0


def pairs(max_side: int) -> st.SearchStrategy[tuple[Mask, Mask]]:
    side = st.integers(2, max_side)
    return st.tuples(side, side).flatmap(
        lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(pairs(14))
def test_scores_equal_brute_force_on_any_small_masks(pair: tuple[Mask, Mask]) -> None:
    assert region_j(*pair) == pytest.approx(brute_j(*pair))
    assert boundary_f(*pair) == pytest.approx(brute_f(*pair))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_boundary_equals_brute_force_where_the_tolerance_is_several_pixels(seed: int) -> None:
    """80x380 gives a tolerance of 4 pixels, where a disk differs from a square."""
    rng = np.random.default_rng(seed)
    true = rectangle(80, 380, 20, 120, 60, 200)
    top, left = rng.integers(10, 30), rng.integers(110, 130)
    predicted = rectangle(80, 380, top, left, top + 35, left + 90)
    predicted[rng.integers(0, 80, 20), rng.integers(0, 380, 20)] = True
    assert boundary_f(predicted, true) == pytest.approx(brute_f(predicted, true))


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(pairs(24))
def test_scores_are_symmetric_bounded_and_one_for_the_same_mask(pair: tuple[Mask, Mask]) -> None:
    for score in (region_j, boundary_f):
        assert score(*pair) == pytest.approx(score(*pair[::-1]))
        assert 0 <= score(*pair) <= 1
        assert score(pair[0], pair[0]) == 1


def test_half_covered_square_has_half_the_region() -> None:
    assert region_j(rectangle(10, 10, 0, 0, 4, 2), rectangle(10, 10, 0, 0, 4, 4)) == 0.5


def test_empty_masks_agree_and_an_empty_one_against_a_full_object_does_not() -> None:
    empty = np.zeros((20, 20), np.bool_)
    square = rectangle(20, 20, 5, 5, 15, 15)
    assert (region_j(empty, empty), boundary_f(empty, empty)) == (1, 1)
    assert (region_j(empty, square), boundary_f(empty, square)) == (0, 0)
    assert (region_j(square, empty), boundary_f(square, empty)) == (0, 0)


def test_boundary_of_one_pixel_is_the_pixel_and_its_upper_left_neighbours() -> None:
    mask = rectangle(5, 5, 2, 2, 3, 3)
    assert sorted(zip(*np.nonzero(mask_boundary(mask)), strict=True)) == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]


def test_mask_that_fills_the_image_has_no_boundary() -> None:
    assert not mask_boundary(np.ones((6, 7), np.bool_)).any()


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (8, 1.0), (9, 0.0)])
def test_a_line_counts_up_to_the_tolerance_and_not_beyond(shift: int, expected: float) -> None:
    """480x854: 0.008 of the diagonal is 7.8 pixels, rounded up to 8."""
    true = rectangle(480, 854, 200, 0, 480, 854)
    assert boundary_f(rectangle(480, 854, 200 + shift, 0, 480, 854), true) == expected


def test_statistics_follow_the_binning_of_the_protocol() -> None:
    """Nine frames: the quarters are 0-2, 2-4, 4-6 and 6-8 and share their borders."""
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    result = statistics(scores)
    assert result.mean == pytest.approx(0.5)
    assert result.recall == pytest.approx(4 / 9)  # 0.5 itself is not above one half
    assert result.decay == pytest.approx(0.8 - 0.2)


def test_decay_is_right_on_sequences_longer_than_a_byte_can_count() -> None:
    scores = np.concatenate([np.ones(300), np.zeros(300)])
    assert statistics(scores).decay == pytest.approx(1.0)


def test_one_frame_has_a_mean_and_no_decay() -> None:
    result = statistics(np.array([0.75]))
    assert (result.mean, result.recall, result.decay) == (0.75, 1.0, 0.0)
