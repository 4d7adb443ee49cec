"""`python -m tools.policies`: the made clips say what is true, the table what was found."""

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.small_pico import small_pico
from tools.evaluate.prompting import PromptKind
from tools.policies.clips import FRAMES, HEIGHT, hiding, synthetic_videos
from tools.policies.command import main
from tools.policies.compare import Named, Score, compare, score, share_encodings
from tools.policies.cutouts import CLASSES, mirrored_twin, pick_cutout
from tools.policies.report import Setting, aggregate, by_prompt, pooled, to_json, to_markdown
from tools.policies.video import Video, davis_videos
from tracker.engine import Policy
from tracker.errors import TrackdError
from tracker.models.base import Features
from tracker.models.sam2.adapter import Sam2Model


@pytest.fixture(scope="session")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few photos of red blobs on noise, in the layout of the stills."""
    root, random = tmp_path_factory.mktemp("stills"), np.random.default_rng(0)
    for number, folder in enumerate((*CLASSES, "backgrounds")):
        (root / folder).mkdir()
        for name in range(3):
            photo = root / folder / f"{name}.png"
            picture = random.integers(40, 216, (150, 180, 3), np.uint8)
            mask = np.zeros((150, 180), np.uint8)
            cv2.ellipse(mask, (90, 75), (40 + 5 * name, 50), 20 * number, 0, 300, 255, -1)
            picture[mask > 0] = picture[mask > 0] // 4 + np.array((20, 30, 180), np.uint8)
            cv2.imwrite(str(photo.with_suffix(".jpg")), picture)
            cv2.imwrite(str(photo.with_suffix(".0.png")), mask)
    return root


@pytest.fixture(scope="session")
def clips(stills: Path) -> tuple[Video, ...]:
    return tuple(synthetic_videos(stills, 2))


def absent_frames(video: Video) -> list[int]:
    return [index for index, truth in enumerate(video.truths_hw) if not truth.any()]


@pytest.mark.slow
def test_the_same_seed_makes_the_same_clip(stills: Path, clips: tuple[Video, ...]) -> None:
    for first, again in zip(clips, synthetic_videos(stills, 2), strict=True):
        assert (first.group, first.name) == (again.group, again.name)
        assert np.array_equal(first.images_hwc, again.images_hwc)
        assert np.array_equal(first.truths_hw, again.truths_hw)


@pytest.mark.slow
def test_clips_of_a_kind_differ(clips: tuple[Video, ...]) -> None:
    for first, second in pairwise(clips):
        assert not np.array_equal(first.images_hwc, second.images_hwc)


@pytest.mark.slow
def test_an_object_is_away_for_8_to_12_frames_and_whole_before_and_after(
    clips: tuple[Video, ...],
) -> None:
    for video in clips:
        absent = absent_frames(video)
        if video.group == "lookalike":
            assert not absent
            continue
        assert 8 <= len(absent) <= 12
        assert absent == list(range(absent[0], absent[-1] + 1))
        area = np.count_nonzero(video.truths_hw[0])
        assert np.count_nonzero(video.truths_hw[-1]) == area > 500


def test_the_wall_of_a_hiding_clip_stands_before_the_hidden_object(stills: Path) -> None:
    thing = pick_cutout(stills, CLASSES[0], np.random.default_rng(1))
    wall = np.full((HEIGHT, 400, 3), 7, np.uint8)
    script = hiding(thing, 40, 8, wall)
    assert len(script) == FRAMES
    object_at, wall_at = script[14]
    assert wall_at.x <= object_at.x
    assert wall_at.x + wall_at.cutout.mask_hw.shape[1] >= object_at.x + thing.mask_hw.shape[1]


@pytest.mark.slow
def test_a_returning_object_may_come_from_the_other_side(clips: tuple[Video, ...]) -> None:
    def column(video: Video) -> float:
        return float(np.nonzero(video.truths_hw[absent_frames(video)[-1] + 1])[1].mean())

    same_side, other_side = (video for video in clips if video.group == "leaving")
    assert column(same_side) < 20
    assert column(other_side) > 300


def test_a_lookalike_hides_part_of_the_object(clips: tuple[Video, ...]) -> None:
    for video in clips:
        if video.group == "lookalike":
            areas = [np.count_nonzero(truth) for truth in video.truths_hw]
            assert 0 < min(areas) < 0.8 * areas[0]


def test_a_twin_is_like_the_object_but_not_the_same(stills: Path) -> None:
    thing = pick_cutout(stills, CLASSES[0], np.random.default_rng(1))
    twin = mirrored_twin(thing)
    assert np.array_equal(twin.mask_hw, thing.mask_hw[:, ::-1])
    difference = np.abs(twin.image_hwc[:, ::-1].astype(int) - thing.image_hwc.astype(int))
    assert 2 < difference[thing.mask_hw].mean() < 60


def test_stills_that_lack_a_class_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrackdError, match=r"no usable stills in .*human"):
        pick_cutout(tmp_path, "human", np.random.default_rng(0))


def test_no_more_davis_frames_are_read_than_asked(data_dir: Path) -> None:
    video = next(davis_videos(data_dir / "davis-dev", 3))
    assert (video.group, len(video.images_hwc), len(video.truths_hw)) == ("davis-dev", 3, 3)
    assert video.truths_hw[0].shape == video.images_hwc[0].shape[:2]


@pytest.mark.slow
def test_a_folder_without_data_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert "davis-dev" in message
    assert message.count("\n") == 1


def blinking_video(there: str) -> Video:
    """A square that is there on the frames marked with 1."""
    square = np.zeros((32, 32), np.bool_)
    square[8:24, 8:24] = True
    image = np.zeros((32, 32, 3), np.uint8)
    truths = tuple(square & (mark == "1") for mark in there)
    return Video("made", "blink", (image,) * len(there), truths)


def test_masks_while_away_and_after_the_return_are_counted() -> None:
    video = blinking_video("110011")
    everything = blinking_video("111111").truths_hw
    nothing_again = blinking_video("110000").truths_hw
    stuck = score(video, PromptKind.MASK, "stuck", everything)
    gone = score(video, PromptKind.MASK, "gone", nothing_again)
    assert (stuck.absent, stuck.imagined, stuck.back, stuck.found) == (2, 2, 2, 2)
    assert (gone.absent, gone.imagined, gone.back, gone.found) == (2, 0, 2, 0)
    assert stuck.j == pytest.approx(0.5)  # of frames 1 to 4: right, two imagined, right
    assert gone.j == pytest.approx(0.75)
    assert json.dumps(asdict(stuck))  # plain numbers only


def test_a_video_without_absence_counts_none() -> None:
    video = blinking_video("1111")
    plain = score(video, PromptKind.MASK, "all", video.truths_hw)
    assert (plain.j, plain.f, plain.absent, plain.back) == (1.0, 1.0, 0, 0)


def fake(
    video: str, policy: str, jf: float, imagined: int = 0, prompt: PromptKind = PromptKind.MASK
) -> Score:
    return Score("set", video, prompt, policy, 40, jf, jf, 10, imagined, 20, 15)


def test_the_table_compares_with_the_first_policy_video_by_video() -> None:
    scores = [
        fake("a", "all", 0.80, imagined=2),
        fake("a", "sure", 0.90),
        fake("b", "all", 0.60),
        fake("b", "sure", 0.58),
        fake("c", "all", 0.70),
        fake("c", "sure", 0.702),
    ]
    all_, sure = aggregate(scores)
    assert (all_.policy, all_.gain, all_.better, all_.worse) == ("all", 0.0, 0, 0)
    assert (all_.videos, all_.frames, all_.absent, all_.imagined) == (3, 120, 30, 2)
    assert sure.j == pytest.approx((0.90 + 0.58 + 0.702) / 3)
    assert sure.gain == pytest.approx((0.10 - 0.02 + 0.002) / 3)
    assert sure.gain_error == pytest.approx(np.std([0.10, -0.02, 0.002], ddof=1) / np.sqrt(3))
    assert (sure.better, sure.worse) == (1, 1)  # a difference of 0.002 is noise
    assert (sure.back, sure.found) == (60, 45)


def test_sets_can_be_pooled_into_one_more() -> None:
    scores = [
        fake("a", "all", 0.8),
        Score("other", "a", PromptKind.MASK, "all", 40, 0.6, 0.6, 0, 0, 0, 0),
    ]
    both = pooled(scores, ("set", "other"), "both")
    assert [s.video for s in both] == ["set/a", "other/a"]
    (row,) = aggregate(both)
    assert (row.group, row.videos, row.absent, row.j) == ("both", 2, 10, pytest.approx(0.7))


def test_every_prompt_is_compared_with_its_own_first_policy() -> None:
    scores = [fake("a", "all", 0.8), fake("a", "sure", 0.9)]
    scores += [fake("a", p, jf, prompt=PromptKind.BOX) for p, jf in (("all", 0.7), ("sure", 0.6))]
    rows = by_prompt(aggregate(scores))
    assert [round(row.gain, 3) for row in rows[PromptKind.MASK]] == [0.0, 0.1]
    assert [round(row.gain, 3) for row in rows[PromptKind.BOX]] == [0.0, -0.1]


def test_results_are_written_as_markdown_and_json() -> None:
    scores = [fake("a", "all", 0.8, imagined=2), fake("a", "sure", 0.9)]
    scores += [fake("a", "all", 0.7, prompt=PromptKind.BOX)]
    scores += [fake("a", "sure", 2 / 3, prompt=PromptKind.BOX)]
    setting = Setting("python -m tools.policies DATA", "pico", "00", "cpu", "float32", 2, 1, 3.0)
    rows = aggregate(scores)
    page = to_markdown(rows, setting)
    assert "| set | sure | 1 | 0.900 | 0.900 | 0.900 | +0.100 | 0.000 | 1/0 |" in page
    assert "20% of 10" in page
    assert page.index("## From a mask") < page.index("## From a box") < page.index("0.667")
    content = json.loads(to_json(rows, scores, setting))
    assert content["setting"]["cpus"] == 2
    assert [video["j"] for video in content["videos"]] == [0.8, 0.9, 0.7, 0.66667]
    assert [row["prompt"] for row in content["rows"]] == ["mask", "mask", "box", "box"]


def test_one_image_is_encoded_once_for_all_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    encode, encoded = Sam2Model.encode_image, []

    def counted(network: Sam2Model, picture_hwc: np.ndarray) -> Features:
        encoded.append(picture_hwc)
        return encode(network, picture_hwc)

    monkeypatch.setattr(Sam2Model, "encode_image", counted)
    network = share_encodings(small_pico()).network
    picture_hwc = np.zeros((128, 128, 3), np.uint8)
    first = network.encode_image(picture_hwc)
    assert network.encode_image(picture_hwc.copy()) is first
    assert len(encoded) == 1
    assert network.encode_image(picture_hwc + 1) is not first
    assert len(encoded) == 2


@pytest.mark.slow
def test_a_real_model_tracks_a_clip_with_every_policy(clips: tuple[Video, ...]) -> None:
    clip = clips[0]
    short = Video(clip.group, clip.name, clip.images_hwc[:4], clip.truths_hw[:4])
    policies = [
        Named("all", Policy(keep_memories="all")),
        Named("confident", Policy(keep_memories="confident")),
    ]
    prompts = [PromptKind.MASK, PromptKind.BOX]
    scores = compare(small_pico(), policies, prompts, short)
    assert [s.policy for s in scores] == ["all", "confident"] * 2
    assert [s.prompt for s in scores] == ["mask", "mask", "box", "box"]
    assert all(s.frames == 4 and s.j > 0.3 for s in scores)
