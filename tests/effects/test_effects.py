"""Effects: what they draw, and how one is chosen."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from streams import open_source
from tests.support.installed import install
from tests.support.moving_square import open_fake_session, write_clip
from tracker.cli.main import main
from tracker.effects.registry import DEFAULT, EFFECTS
from tracker.types import ObjectResult, ObjectState

HEIGHT, WIDTH = 96, 160
RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def seen(object_id: int, x0: int, y0: int, x1: int, y1: int) -> ObjectResult:
    mask_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask_hw[y0:y1, x0:x1] = True
    return ObjectResult(object_id, None, ObjectState.VISIBLE, 0.9, 0.9, (x0, y0, x1, y1), mask_hw)


def unseen(object_id: int) -> ObjectResult:
    empty_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
    return ObjectResult(object_id, None, ObjectState.OCCLUDED, 0.1, 0.1, None, empty_hw)


@pytest.mark.parametrize("name", EFFECTS.names)
def test_an_effect_gives_a_new_picture_and_leaves_the_one_it_got(name: str):
    effect = EFFECTS.find(name).make(HEIGHT, WIDTH)
    before = NOISE.copy()
    for objects in ((), (seen(1, 20, 20, 60, 60),), (unseen(1),)):
        drawn = effect.draw(NOISE, objects)
        assert (drawn.shape, drawn.dtype) == (NOISE.shape, np.uint8)
        assert not np.shares_memory(drawn, NOISE)
        assert np.array_equal(NOISE, before)


def test_blur_hides_the_objects_and_nothing_else():
    blur = EFFECTS.find("blur").make(HEIGHT, WIDTH)
    first, second = seen(1, 20, 20, 60, 60), seen(2, 100, 40, 140, 80)
    drawn = blur.draw(NOISE, (first, second, unseen(3)))
    changed_hw = (drawn != NOISE).any(axis=2)
    for item in (first, second):
        assert changed_hw[item.mask_hw].mean() > 0.95
        assert drawn[item.mask_hw].std() < NOISE[item.mask_hw].std() / 3
        x0, y0, x1, y1 = item.box_xyxy
        inside = drawn[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4]
        assert np.abs(np.diff(inside.astype(int), axis=1)).mean() < 12  # 85 in the noise
    near_hw = np.zeros((HEIGHT, WIDTH), np.uint8)
    near_hw[first.mask_hw | second.mask_hw] = 1
    near_hw = cv2.dilate(near_hw, np.ones((9, 9), np.uint8))
    assert not changed_hw[near_hw == 0].any()


def test_blur_leaves_a_picture_without_visible_objects():
    assert np.array_equal(EFFECTS.find("blur").make(HEIGHT, WIDTH).draw(NOISE, (unseen(1),)), NOISE)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 200), (200, 3)])
def test_blur_takes_pictures_of_any_size(height: int, width: int):
    image = np.zeros((height, width, 3), np.uint8)
    whole = np.ones((height, width), np.bool_)
    item = ObjectResult(1, None, ObjectState.VISIBLE, 1, 1, (0, 0, width, height), whole)
    assert EFFECTS.find("blur").make(height, width).draw(image, (item,)).shape == image.shape


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    write_clip(tmp_path / "clip.mp4", 3)
    return tmp_path


def video(name: str, *options: str) -> np.ndarray:
    argv = ["track", "clip.mp4", "--box", "1:4,10,24,30", "--out", name, "--quiet", *options]
    assert main(argv) == 0
    with open_source(name) as source:
        return np.stack([frame.image for frame in source]).astype(int)


def test_the_drawn_video_has_the_overlay_unless_another_effect_is_chosen(folder, monkeypatch):
    plain, overlay = video("plain.mp4"), video("overlay.mp4", "--effect", DEFAULT)
    assert np.array_equal(plain, overlay)
    example = Path(__file__).parents[2] / "examples" / "pixelate.py"
    entry = "pixelate = pixelate:PIXELATE"
    install(folder / "site", monkeypatch, example, "trackd.effects", entry)
    others = {name: video(f"{name}.mp4", "--effect", name) for name in ("blur", "pixelate")}
    for drawn in others.values():
        assert drawn.shape == plain.shape
        assert np.abs(drawn - plain)[:, 10:30, :24].mean() > 10
    assert (folder / "plain.mp4").read_bytes() == (folder / "overlay.mp4").read_bytes()
