"""Packs and clips: what is written is what is read, and a clip follows from its number."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.train_data import HELD_OUT, write_data, write_small_pack, write_video
from tools.train import pack as pack_module
from tools.train import real
from tools.train.camera import Camera, random_colours
from tools.train.clips import LEAST_AREA, ClipMaker, training_videos
from tools.train.config import Data
from tools.train.motion import Path as MotionPath
from tools.train.motion import away_and_back
from tools.train.pack import main, write_pack
from tools.train.packed import Pack
from tools.train.scene import Layer, draw, line_kernel, placement
from tools.train.stills import random_objects
from tracker.errors import TrackdError, UsageError

SIDE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_pack(tmp_path_factory.mktemp("train"))


def data(folder: Path, **sources: float) -> Data:
    weights = {name.replace("__", "/"): weight for name, weight in sources.items()}
    return Data(pack=folder, sources=weights, held_out=(HELD_OUT,), workers=0)


def maker(folder: Path, seed: int = 0, objects: int = 1, **sources: float) -> ClipMaker:
    sources = sources or {"videos": 1.0, "stills__blobs": 1.0}
    asked = data(folder, **sources)
    return ClipMaker(Pack(folder), asked, seed=seed, frames=4, side=SIDE, objects=objects)


def test_a_pack_holds_every_file_as_it_was(tmp_path: Path) -> None:
    source = write_data(tmp_path / "data")
    index = write_pack(source, tmp_path / "pack", ["videos"], ["stills/blobs"])
    pack = Pack(tmp_path / "pack")
    assert pack.index == index
    still = index.stills["stills/blobs"][1]
    assert np.array_equal(pack.image(still.image), cv2.imread(str(source / "stills/blobs/1.jpg")))
    frame = index.videos["videos"]["red"][3]
    truth = cv2.imread(str(source / "videos/Annotations/red/00003.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(pack.mask(frame.mask), truth)


def test_parts_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_module, "MAX_PART_BYTES", 6000)
    index = write_pack(write_data(tmp_path / "data"), tmp_path / "pack", ["videos"], [])
    assert len(index.parts) > 1
    assert all(part.bytes <= 6000 for part in index.parts)
    assert all((tmp_path / "pack" / part.file).stat().st_size == part.bytes for part in index.parts)
    Pack(tmp_path / "pack").image(index.videos["videos"]["red"][-1].image)


def test_the_development_set_is_not_packed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(tmp_path / "davis-dev", "secret", (1, 2, 3))
    assert main([str(tmp_path), str(tmp_path / "out"), "--videos", "davis-dev"]) == 2
    assert "davis-dev is never trained on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wrong_packs_are_refused_in_one_line(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(TrackdError, match="no pack"):
        Pack(tmp_path / "nowhere")
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "index.json").write_bytes((folder / "index.json").read_bytes())
    (cut / "part-000.bin").write_bytes((folder / "part-000.bin").read_bytes()[:-1])
    with pytest.raises(TrackdError, match="cut short"):
        Pack(cut)


def test_a_clip_follows_from_seed_and_number(folder: Path) -> None:
    first, again, other = maker(folder), maker(folder), maker(folder, seed=1)
    for number in (0, 7, 123):
        clip, same = first.clip(number), again.clip(number)
        assert np.array_equal(clip.images_tssc, same.images_tssc)
        assert np.array_equal(clip.masks_otss, same.masks_otss)
        assert not np.array_equal(clip.images_tssc, other.clip(number).images_tssc)
        assert not np.array_equal(clip.images_tssc, first.clip(number + 1).images_tssc)


@pytest.mark.slow
def test_first_frames_show_the_object_and_later_ones_may_not(folder: Path) -> None:
    clips = [maker(folder, stills__blobs=1.0).clip(number) for number in range(60)]
    assert all(clip.masks_otss[0, 0].mean() >= LEAST_AREA for clip in clips)
    assert any(not clip.masks_otss[0, t].any() for clip in clips for t in range(1, 4))
    assert {clip.images_tssc.shape for clip in clips} == {(4, SIDE, SIDE, 3)}


@pytest.mark.slow
def test_a_clip_shows_as_many_objects_as_are_asked_for(folder: Path) -> None:
    clips = [maker(folder, objects=3).clip(number) for number in range(40)]
    assert {clip.masks_otss.shape for clip in clips} == {(3, 4, SIDE, SIDE)}
    assert all(mask[0].mean() >= LEAST_AREA for clip in clips for mask in clip.masks_otss)
    different = [len(np.unique(clip.masks_otss[:, 0], axis=0)) for clip in clips]
    assert set(different) == {1, 2, 3}, "some are shown twice where there are fewer"


def test_every_region_of_a_picture_is_an_object_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "stills/halves").mkdir(parents=True)
    values = np.repeat(np.uint8([[0, 7, 9]]), 40, axis=1).repeat(90, axis=0)
    cv2.imwrite(str(tmp_path / "stills/halves/a.0.png"), values)
    cv2.imwrite(str(tmp_path / "stills/halves/a.jpg"), np.full((90, 120, 3), 80, np.uint8))
    write_pack(tmp_path, tmp_path / "pack", [], ["stills/halves"])
    pack, random = Pack(tmp_path / "pack"), np.random.default_rng(0)
    shown = random_objects(pack, "stills/halves", 4, random)
    assert shown is not None
    assert sorted(int(mask.argmax(axis=1)[0]) for mask in shown.masks) == [40, 80]
    assert [mask.mean() for mask in shown.masks] == [1 / 3, 1 / 3]
    fewer = random_objects(pack, "stills/halves", 1, random)
    assert fewer is not None and len(fewer.masks) == 1


@pytest.mark.parametrize("visitors", [0, 1])
def test_masks_stay_on_their_objects(
    visitors: float, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the videos the object is red on grey, whatever is done to the pictures."""
    monkeypatch.setattr(real, "VISITOR_SHARE", visitors)
    monkeypatch.setattr(real, "OTHERS_SHARE", 0)
    agreements, seen_twice = [], 0
    for number in range(40):
        clip = maker(folder, objects=2, videos=1.0).clip(number)
        images, masks_tss = clip.images_tssc.astype(int), clip.masks_otss.any(axis=0)
        red = images[..., 0] - images[..., 2] > 30
        agreements.append((red & masks_tss).sum() / (red | masks_tss).sum())
        seen_twice += not np.array_equal(*clip.masks_otss)
    assert np.median(agreements) > 0.8, "colours bleed in small JPEGs"
    assert (seen_twice > 20) == bool(visitors), "a visitor is an object too"


def test_layers_hide_what_is_behind_them() -> None:
    still = MotionPath(np.tile(np.eye(2), (2, 1, 1)), np.array([[0.0, 0.0], [0.25, 0.0]]))
    grey, white = np.full((SIDE, SIDE, 3), 60, np.uint8), np.full((16, 16, 3), 255, np.uint8)
    full, square = np.full((SIDE, SIDE), 255, np.uint8), np.full((16, 16), 255, np.uint8)
    unmoved = np.tile(np.array([[1.0, 0, 0], [0, 1.0, 0]]), (2, 1, 1))
    ground = Layer([grey] * 2, unmoved, regions=[[full] * 2])
    at = placement(still, (16, 16), (0.5, 0.5), 1.0, SIDE)
    pictures, (masks, front) = draw(ground, [Layer([white] * 2, at, [square] * 2)], SIDE)
    assert np.array_equal(pictures[..., 0] > 150, masks < 128)
    assert np.array_equal(front > 127, masks < 128)
    assert [int((mask < 128).sum()) for mask in masks] == [256, 256]
    assert masks[0, 32, 32] < 128 and masks[1, 32, 48] < 128 and masks[1, 32, 32] == 255


def test_what_leaves_is_in_place_at_first() -> None:
    random = np.random.default_rng(0)
    shifts = [away_and_back(random, 5) for _ in range(50)]
    assert all(not shift[0].any() for shift in shifts)
    assert all(np.hypot(*shift.T).max() >= 0.8 for shift in shifts)
    assert any(not shift[-1].any() for shift in shifts)


def test_a_camera_keeps_shapes_and_a_line_adds_up() -> None:
    picture = np.full((SIDE, SIDE, 3), 100, np.uint8)
    random = np.random.default_rng(0)
    taken = Camera(1.0, (7, 30.0), 8.0, 50).take(random_colours(random).apply(picture), random)
    assert taken.shape == picture.shape and taken.dtype == np.uint8
    assert taken.std() > 0
    assert line_kernel(7, 45.0).sum() == pytest.approx(1)


def test_held_out_videos_are_left_out(folder: Path) -> None:
    pack = Pack(folder)
    kept = training_videos(pack, data(folder, videos=1.0))["videos"]
    assert kept == (pack.index.videos["videos"]["red"],)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"held_out": ("green",)}, "no video 'green'"),
        ({"held_out": ("red", "blue")}, "all videos of videos"),
        ({"sources": {"stills/cats": 1.0}}, "no source 'stills/cats'"),
    ],
)
def test_a_pack_must_have_what_is_asked_of_it(
    folder: Path, change: dict[str, object], words: str
) -> None:
    asked = data(folder, videos=1.0).model_copy(update=change)
    with pytest.raises(UsageError, match=words):
        ClipMaker(Pack(folder), asked, seed=0, frames=4, side=SIDE)


def test_sources_without_objects_are_an_error(folder: Path) -> None:
    with pytest.raises(TrackdError, match="no object"):
        maker(folder, stills__backgrounds=1.0).clip(0)


@pytest.mark.slow
def test_real_sources_make_clips(data_dir: Path, tmp_path: Path) -> None:
    write_pack(data_dir, tmp_path, ["davis-train"], ["stills/coco128"])
    sources = {"davis-train": 1.0, "stills/coco128": 1.0}
    asked = Data(pack=tmp_path, sources=sources, held_out=("bear",))
    clips = ClipMaker(Pack(tmp_path), asked, seed=0, frames=3, side=SIDE)
    assert all(clips.clip(number).masks_otss[0, 0].any() for number in range(10))
