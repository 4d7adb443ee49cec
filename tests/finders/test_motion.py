"""Motion finder, on made pictures and on a real traffic camera."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.moving_square import HEIGHT, RED, SIDE, WIDTH, square_xy
from tracker.finders.boxes import box_iou, mask_iou
from tracker.finders.motion import MotionFinder
from tracker.finders.settings import MotionSettings

QUICK = MotionSettings(warm_up=3, persistence=2, min_area=0.005)


def background(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(90, 98, (HEIGHT, WIDTH, 3), np.uint8)


def with_square(image: np.ndarray, index: int, colour: tuple[int, int, int] = RED) -> np.ndarray:
    x, y = square_xy(index)
    image[y : y + SIDE, x : x + SIDE] = colour
    return image


def test_a_square_that_enters_is_proposed_after_it_was_seen_on_enough_frames():
    rng, finder = np.random.default_rng(0), MotionFinder(QUICK)
    assert [len(finder.find(background(rng), ())) for _ in range(8)] == [0] * 8
    counts = []
    for index in range(5):
        found = finder.find(with_square(background(rng), index), ())
        counts.append(len(found))
    assert counts == [0, 1, 1, 1, 1]
    x, y = square_xy(4)
    assert box_iou(found[0].box_xyxy, (x, y, x + SIDE, y + SIDE)) > 0.7
    assert found[0].mask_hw.any()
    assert 0.7 < found[0].score <= 1


def test_nothing_is_proposed_while_the_background_is_learned():
    rng, finder = np.random.default_rng(0), MotionFinder(QUICK)
    for index in range(QUICK.warm_up):
        assert finder.find(with_square(background(rng), index), ()) == []


def test_small_regions_and_a_change_of_the_whole_picture_are_no_motion():
    rng = np.random.default_rng(0)
    small = MotionFinder(QUICK.model_copy(update={"min_area": 0.1}))
    whole = MotionFinder(QUICK)
    for _ in range(8):
        small.find(background(rng), ())
        whole.find(background(rng), ())
    for index in range(4):
        assert small.find(with_square(background(rng), index), ()) == []
        assert whole.find(background(rng) + 100, ()) == []


def test_another_size_of_the_picture_begins_again():
    rng, finder = np.random.default_rng(0), MotionFinder(QUICK)
    for _ in range(8):
        finder.find(background(rng), ())
    for index in range(QUICK.warm_up + QUICK.persistence - 1):
        image = np.full((60, 80, 3), 94, np.uint8)
        image[20:40, 10 + 4 * index : 30 + 4 * index] = RED
        assert finder.find(image, ()) == []


@pytest.mark.slow
def test_cars_of_a_real_camera_are_found(data_dir: Path):
    root = data_dir / "videos-seg" / "cdnet-highway"
    if not root.is_dir():
        pytest.skip("no traffic camera in ../shared/data")
    finder, hits, shown = MotionFinder(MotionSettings()), 0, 0
    for name in ("highway-00", "highway-02", "highway-03"):  # the same camera
        for path in sorted((root / "JPEGImages" / name).glob("*.jpg")):
            finder.find(np.asarray(Image.open(path)), ())
    for index, path in enumerate(sorted((root / "JPEGImages" / "highway-01").glob("*.jpg"))):
        found = finder.find(np.asarray(Image.open(path)), ())
        ids_hw = np.asarray(Image.open(root / "Annotations" / "highway-01" / f"{path.stem}.png"))
        if index < MotionSettings().persistence:
            continue
        truths = [ids_hw == i for i in np.unique(ids_hw) if i and np.sum(ids_hw == i) > 400]
        shown += len(truths)
        hits += sum(any(mask_iou(truth, p.mask_hw) > 0.5 for p in found) for truth in truths)
    assert shown > 20
    assert hits / shown > 0.8
