"""Outlines: filled again by pycocotools they are the mask, to the pixel."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from tests.support.tracked_frames import box_of, disc
from tracker.exporters.polygons import bridged, outlines


def filled(ring: np.ndarray, height: int, width: int) -> np.ndarray:
    polygon = [ring.ravel().astype(float).tolist()]
    merged = coco_mask.merge(coco_mask.frPyObjects(polygon, height, width))
    return np.asarray(coco_mask.decode(merged), np.bool_)


@pytest.mark.slow
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=150, deadline=None)
def test_rings_and_bridged_rings_give_the_mask_back(height, width, seed, smooth):
    rng = np.random.default_rng(seed)
    values = rng.random((height, width)).astype(np.float32)
    mask_hw = cv2.blur(values, (5, 5)) > 0.5 if smooth else values > rng.random()
    box = box_of(mask_hw)
    if box is None:
        return
    parts = outlines(mask_hw, box)
    apart_hw = np.zeros_like(mask_hw)
    for part in parts:
        apart_hw ^= filled(part.outer, height, width)
        for hole in part.holes:
            apart_hw ^= filled(hole, height, width)
    assert np.array_equal(apart_hw, mask_hw)
    assert np.array_equal(filled(bridged(parts), height, width), mask_hw)


def test_a_rectangle_has_four_corners_on_the_edges_of_its_pixels():
    mask_hw = np.zeros((20, 30), np.bool_)
    mask_hw[3:8, 10:25] = True
    (part,) = outlines(mask_hw, (10, 3, 25, 8))
    assert sorted(part.outer.tolist()) == [[10, 3], [10, 8], [25, 3], [25, 8]]
    assert part.holes == ()


@pytest.mark.parametrize("tolerance_px", [1.0, 3.0])
def test_a_tolerance_leaves_fewer_points_near_the_mask(tolerance_px):
    mask_hw = disc(100, 80, 60, 160, 200)
    (exact,) = outlines(mask_hw, box_of(mask_hw))
    (simple,) = outlines(mask_hw, box_of(mask_hw), tolerance_px)
    assert len(simple.outer) < len(exact.outer) / 3
    far_hw = filled(simple.outer, 160, 200) ^ mask_hw
    inner_hw = cv2.erode(mask_hw.astype(np.uint8), np.ones((9, 9), np.uint8))
    assert not far_hw[inner_hw > 0].any()
    assert far_hw.mean() < 0.02
