"""`python -m tools.bench refind`: the clips say what is true, and scores follow from it."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tools.bench.refind.clips import ABSENT, FPS, GROUPS, HEIGHT, SEEN, WIDTH, Clip, make_clip
from tools.bench.refind.scoring import Seen, auc, score
from tools.bench.refind.sprites import HELD_OUT, KINDS
from tracker.errors import TrackdError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs of two colours a kind, videos of a square, and a photo, in the layout of the data."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    ground = random.integers(80, 120, (120, 160, 3), np.uint8)
    for kind in KINDS:
        for number in range(4):
            _still(root / "stills" / "caltech101-cut" / f"{kind}_{number}.jpg", ground, number)
    for number in range(2):
        _write(root / "stills" / "backgrounds" / f"{number}.jpg", ground)
    for name in HELD_OUT:
        for t in range(30):
            mask = np.zeros((120, 160), np.uint8)
            mask[30 : 80 + t % 3, 40:90] = 255
            picture = np.where(mask[..., None] > 0, np.uint8(200), ground)
            _write(root / "davis-train" / "JPEGImages" / name / f"{t:05d}.jpg", picture)
            _write(root / "davis-train" / "Annotations" / name / f"{t:05d}.png", mask)
    return root


def _still(path: Path, ground: NDArray[np.uint8], number: int) -> None:
    mask = cv2.circle(np.zeros((120, 160), np.uint8), (80, 60), 45, 255, -1)
    picture = np.where(mask[..., None] > 0, np.uint8(40 + 50 * number), ground)
    _write(path, picture)
    _write(path.with_suffix(".0.png"), mask)


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def as_seen(masks_hw: Sequence[NDArray[np.bool_]], identity: float = 0.9) -> list[Seen]:
    return [Seen(mask_hw, identity) for mask_hw in masks_hw]


def clip_of(group: str, truths_hw: list[NDArray[np.bool_]], returns: int = 0) -> Clip:
    nothing = np.zeros_like(truths_hw[0])
    return Clip(group, "c", (), tuple(truths_hw), (nothing,) * len(truths_hw), returns)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("group", GROUPS)
def test_the_same_seed_makes_the_same_clip(data: Path, group: str, seed: int) -> None:
    first, again = make_clip(data, group, seed), make_clip(data, group, seed)
    assert first.name == again.name
    assert np.array_equal(first.images_hwc, again.images_hwc)
    assert np.array_equal(first.truths_hw, again.truths_hw)
    assert first.images_hwc[0].shape == (HEIGHT, WIDTH, 3)


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_another_seed_makes_another_clip(data: Path, group: str) -> None:
    first, other = make_clip(data, group, 0), make_clip(data, group, 1)
    assert not np.array_equal(first.images_hwc, other.images_hwc)
    assert not np.array_equal(first.truths_hw, other.truths_hw)


@pytest.mark.parametrize("group", ["exit", "decoy"])
def test_the_object_is_seen_then_gone_then_back(data: Path, group: str) -> None:
    clip = make_clip(data, group, 1)
    there = [truth.any() for truth in clip.truths_hw]
    assert all(there[:SEEN])
    assert all(there[clip.returns :])
    assert ABSENT[0] - 2 <= there.count(False) <= ABSENT[1] + 2
    assert len(there) - clip.returns > FPS
    meets = [t for t, decoy in enumerate(clip.decoys_hw) if decoy.any()]
    assert (group == "decoy") == bool(meets)
    assert all(t > SEEN for t in meets)
    assert all(there[t] or t < clip.returns for t in meets)


def test_a_crossing_hides_the_object_and_shows_both_at_the_end(data: Path) -> None:
    clip = make_clip(data, "crossing", 0)
    areas = [np.count_nonzero(truth) for truth in clip.truths_hw]
    assert min(areas) < 0.6 * areas[0]
    assert areas[-1] > 0.8 * areas[0]
    assert clip.decoys_hw[-1].any()
    assert not (clip.decoys_hw[-1] & clip.truths_hw[-1]).any()


def test_missing_stills_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrackdError, match="no two usable stills of butterfly"):
        make_clip(tmp_path, "exit", 1)


class TestScore:
    here, there, nowhere = np.zeros((3, 20, 20), np.bool_)
    here[5:10, 5:10] = True
    there[12:17, 12:17] = True

    def gone_and_back(self) -> Clip:
        truths = [self.here] * SEEN + [self.nowhere] * 5 + [self.here] * (FPS + 4)
        return clip_of("exit", truths, returns=SEEN + 5)

    def test_the_truth_is_found_at_once_and_right(self) -> None:
        clip = self.gone_and_back()
        got = score(clip, as_seen(clip.truths_hw))
        assert (got.held, got.found_frames, got.found_in_time, got.wrong) == (True, 0, True, False)
        assert got.mean_iou == 1

    def test_after_more_than_a_second_it_is_late(self) -> None:
        clip = self.gone_and_back()
        masks = list(clip.truths_hw)
        masks[clip.returns : clip.returns + FPS + 1] = [self.nowhere] * (FPS + 1)
        got = score(clip, as_seen(masks))
        assert (got.found_frames, got.found_in_time) == (FPS + 1, False)

    @pytest.mark.parametrize(("frames", "wrong"), [(2, False), (3, True)])
    def test_three_frames_on_something_else_are_wrong(self, frames: int, wrong: bool) -> None:
        clip = self.gone_and_back()
        masks = list(clip.truths_hw)
        masks[SEEN : SEEN + frames] = [self.there] * frames
        got = score(clip, as_seen(masks))
        assert got.wrong is wrong
        assert sum(off for _, off in got.identities) == frames

    def test_an_object_that_was_not_held_is_told(self) -> None:
        clip = self.gone_and_back()
        masks = [self.nowhere] * len(clip.truths_hw)
        got = score(clip, as_seen(masks))
        assert (got.held, got.found_frames, got.wrong) == (False, None, False)
        assert got.identities == ()

    def test_a_crossing_is_judged_at_its_end(self) -> None:
        clip = clip_of("crossing", [self.here] * 12)
        undone = [self.here] * 3 + [self.there] * 4 + [self.here] * 5
        assert not score(clip, as_seen(undone)).wrong
        assert score(clip, as_seen([self.here] * 8 + [self.there] * 4)).wrong


def test_auc_is_the_share_of_pairs_in_order() -> None:
    pairs = [(0.1, True), (0.6, True), (0.5, False), (0.9, False)]
    assert auc(pairs) == pytest.approx(3 / 4)
    assert auc([(0.5, True), (0.5, False)]) == pytest.approx(0.5)
    assert auc([(0.5, False)]) is None
