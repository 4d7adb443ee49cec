"""Measures of finders, on masks whose overlaps are known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.finding.everything import measure
from tools.finding.motion import ClipScore, summary
from tools.finding.stills import Still, best_ious, read_stills
from tracker.errors import TrackdError


def half(rows: slice, columns: slice) -> np.ndarray:
    mask_hw = np.zeros((10, 20), np.bool_)
    mask_hw[rows, columns] = True
    return mask_hw


LEFT, RIGHT = half(slice(None), slice(0, 10)), half(slice(None), slice(10, 20))
UPPER_LEFT = half(slice(0, 6), slice(0, 10))  # 60 of the 100 pixels of the left


def test_best_overlaps():
    ious = best_ious(np.stack([LEFT, RIGHT]), np.stack([UPPER_LEFT, RIGHT]))
    assert ious.tolist() == pytest.approx([0.6, 1.0])
    assert best_ious(np.stack([LEFT]), np.zeros((0, 10, 20), np.bool_)).tolist() == [0.0]


def test_recall_and_masks_of_each_generator():
    still = Still("a", np.zeros((10, 20, 3), np.uint8), np.stack([LEFT, RIGHT]))
    generators = {
        "one": lambda image_hwc: np.stack([UPPER_LEFT, RIGHT]),
        "none": lambda image_hwc: np.zeros((0, 10, 20), np.bool_),
    }
    seen: list[int] = []
    one, none = (score.row() for score in measure("set", [still, still], generators, seen.append))
    assert (one["objects"], one["recall_50"], one["recall_75"]) == (4, 1.0, 0.5)
    assert (one["masks_per_picture"], one["pictures"], seen) == (2.0, 2, [1, 2])
    assert (none["generator"], none["recall_50"], none["masks_per_picture"]) == ("none", 0.0, 0.0)


def test_stills_are_photos_with_ids_beside_them(tmp_path: Path):
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg")
    Image.fromarray(LEFT * np.uint8(3) + RIGHT * np.uint8(9)).save(tmp_path / "a.0.png")
    Image.new("RGB", (20, 10)).save(tmp_path / "alone.jpg")
    (still,) = read_stills(tmp_path, 10)
    assert still.name == "a.jpg"
    assert np.array_equal(still.truths_nhw, np.stack([LEFT, RIGHT]))
    with pytest.raises(TrackdError, match=r"no NAME.jpg beside NAME.0.png in .*nothing"):
        next(read_stills(tmp_path / "nothing", 10))


def test_clips_together():
    scores = [ClipScore("a", 750, 3, 2, 1, 3, (2, 4)), ClipScore("b", 750, 1, 1, 0, 0, (10,))]
    together = summary(scores)  # 1500 frames are a minute at 25 a second
    assert (together["vehicles"], together["share_found"]) == (4, 0.75)
    assert (together["false_births_per_minute"], together["median_delay_frames"]) == (3.0, 4)
