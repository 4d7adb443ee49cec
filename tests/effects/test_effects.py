"""Effects: what they draw, for which objects, and how they are chosen."""

import weakref
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from streams import Frame, open_source
from tests.support.installed import install
from tests.support.moving_square import open_fake_session, write_clip
from tracker.cli.main import main
from tracker.effects.chain import EffectChain, parse_effects
from tracker.effects.registry import DEFAULT, EFFECTS
from tracker.types import ObjectResult, ObjectState, StageTimes, TrackResult

HEIGHT, WIDTH = 96, 160
RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
ARGUMENTS = {"background": ":navy"}


def seen(object_id: int, x0: int, y0: int, x1: int, y1: int) -> ObjectResult:
    mask_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask_hw[y0:y1, x0:x1] = True
    return ObjectResult(object_id, None, ObjectState.VISIBLE, 0.9, 0.9, (x0, y0, x1, y1), mask_hw)


def unseen(object_id: int) -> ObjectResult:
    empty_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
    return ObjectResult(object_id, None, ObjectState.OCCLUDED, 0.1, 0.1, None, empty_hw)


def drawn(
    text: str, shots: Sequence[tuple[np.ndarray, Sequence[ObjectResult]]], fps: float = 25
) -> list[np.ndarray]:
    """Pictures after the effect of `--effect TEXT`, in order."""
    chain = EffectChain(parse_effects(text), fps)
    done = []
    for index, (image, objects) in enumerate(shots):
        frame = Frame("main", index, index, Fraction(1, 25), 0, image)
        done += chain.push(frame, TrackResult(index, tuple(objects), StageTimes(0, 0)))
    done += chain.flush()
    assert [shot.frame.seq for shot in done] == list(range(len(shots)))
    return [shot.image_hwc for shot in done]


def draw(text: str, *objects: ObjectResult, image: np.ndarray = NOISE) -> np.ndarray:
    (picture,) = drawn(text, [(image, objects)])
    return picture


def around(mask_hw: np.ndarray, side: int = 9) -> np.ndarray:
    return cv2.dilate(mask_hw.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def deep_in(mask_hw: np.ndarray, side: int = 9) -> np.ndarray:
    return cv2.erode(mask_hw.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


@pytest.mark.parametrize("name", [row.name for row in EFFECTS.built_in])
def test_an_effect_gives_a_new_picture_and_leaves_the_one_it_got(name: str):
    before = NOISE.copy()
    for objects in ((), (seen(1, 20, 20, 60, 60),), (unseen(1),)):
        picture = draw(name + ARGUMENTS.get(name, ""), *objects)
        assert picture.dtype == np.uint8
        assert name == "crop" or picture.shape[:2] == (HEIGHT, WIDTH)
        assert picture.shape[2] == (4 if name == "cutout" else 3)
        assert not np.shares_memory(picture, NOISE)
        assert np.array_equal(NOISE, before)


@pytest.mark.parametrize("name", ["blur", "pixelate"])
def test_what_hides_hides_the_objects_and_nothing_else(name: str):
    first, second = seen(1, 20, 20, 60, 60), seen(2, 100, 40, 140, 80)
    picture = draw(name, first, second, unseen(3))
    changed_hw = (picture != NOISE).any(axis=2)
    for item in (first, second):
        assert changed_hw[item.mask_hw].mean() > 0.95
        assert picture[item.mask_hw].std() < NOISE[item.mask_hw].std() / 3
        x0, y0, x1, y1 = item.box_xyxy
        inside = picture[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4]
        assert np.abs(np.diff(inside.astype(int), axis=1)).mean() < 12  # 85 in the noise
    assert not changed_hw[~around(first.mask_hw | second.mask_hw)].any()


@pytest.mark.parametrize("name", ["blur", "pixelate", "remove"])
def test_what_is_not_there_is_not_hidden(name: str):
    assert np.array_equal(draw(name, unseen(1)), NOISE)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 200), (200, 3)])
def test_blur_takes_pictures_of_any_size(height: int, width: int):
    image = np.zeros((height, width, 3), np.uint8)
    whole = np.ones((height, width), np.bool_)
    item = ObjectResult(1, None, ObjectState.VISIBLE, 1, 1, (0, 0, width, height), whole)
    assert draw("blur", item, image=image).shape == image.shape


def test_a_mask_that_jumps_is_hidden_whole_at_once():
    """A steady edge must not leave the object of this frame bare."""
    shots = [(NOISE, (seen(1, 20, 20, 60, 60),)), (NOISE, (seen(1, 26, 24, 66, 64),))]
    last = drawn("blur", shots)[-1]
    changed_hw = (last != NOISE).any(axis=2)
    assert changed_hw[26:62, 28:64].mean() > 0.95


def test_an_effect_is_for_one_object_all_of_them_or_the_rest():
    first, second = seen(1, 20, 20, 60, 60), seen(2, 100, 40, 140, 80)
    for text, changes, stays in (
        ("1=blur", first, second),
        ("2=blur", second, first),
        ("1=colour-pop", second, first),
    ):
        changed_hw = (draw(text, first, second) != NOISE).any(axis=2)
        assert changed_hw[deep_in(changes.mask_hw)].mean() > 0.9, text
        assert not changed_hw[deep_in(stays.mask_hw)].any(), text
    changed_hw = (draw("rest=blur", first, second) != NOISE).any(axis=2)
    objects_hw = first.mask_hw | second.mask_hw
    assert not changed_hw[deep_in(objects_hw)].any()
    assert changed_hw[~around(objects_hw)].mean() > 0.95


def test_spotlight_colour_pop_and_background_change_what_is_around():
    item = seen(1, 20, 20, 60, 60)
    outside_hw = ~around(item.mask_hw)
    dim, grey, blue = (draw(t, item) for t in ("spotlight", "colour-pop", "background:#0000ff"))
    for picture in (dim, grey, blue):
        assert np.array_equal(picture[deep_in(item.mask_hw)], NOISE[deep_in(item.mask_hw)])
    assert np.abs(dim[outside_hw] - NOISE[outside_hw] / 4.0).max() <= 1
    assert (np.ptp(grey[outside_hw], axis=1) == 0).all()
    assert (blue[outside_hw] == (0, 0, 255)).all()


def test_a_background_is_a_picture_or_a_video_from_its_middle(tmp_path: Path):
    wide = np.zeros((50, 200, 3), np.uint8)
    wide[:, 90:110] = 250
    Image.fromarray(wide).save(tmp_path / "wide.png")
    picture = draw(f"background:{tmp_path / 'wide.png'}", seen(1, 0, 0, 10, 10))
    assert picture[50, 75:85].min() > 200
    assert picture[50, [20, 140]].max() < 20
    write_clip(tmp_path / "clip.mp4", 2)
    item = seen(1, 150, 90, 160, 96)
    shots = drawn(f"background:{tmp_path / 'clip.mp4'}", [(NOISE, (item,))] * 3)
    assert np.array_equal(shots[0][:80], shots[2][:80])  # it begins again
    assert not np.array_equal(shots[0][:80], shots[1][:80])


def test_a_cutout_can_be_cropped_and_be_of_the_rest():
    item = seen(1, 20, 20, 60, 60)
    chain = EffectChain(parse_effects(["rest=cutout", "crop:1x1"]), 25)
    frame = Frame("main", 0, 0, Fraction(1, 25), 0, NOISE)
    assert not list(chain.push(frame, TrackResult(0, (item,), StageTimes(0, 0))))
    (shot,) = chain.flush()
    assert shot.image_hwc.shape == (HEIGHT, HEIGHT, 4)
    assert (shot.image_hwc[30:50, 30:50, 3] == 0).all()
    assert (shot.image_hwc[70:, 70:, 3] == 255).all()


def test_a_cutout_is_opaque_inside_and_transparent_outside():
    item = seen(1, 20, 20, 60, 60)
    picture = draw("cutout", item)
    assert picture.shape == (HEIGHT, WIDTH, 4)
    assert (picture[..., 3][deep_in(item.mask_hw, 5)] == 255).all()
    assert (picture[..., 3][~around(item.mask_hw, 5)] == 0).all()
    assert np.array_equal(picture[..., :3], NOISE)


def scene(index: int, side: int = 260) -> tuple[np.ndarray, np.ndarray]:
    """A window that moves over a still world, with and without a disc that moves by itself."""
    world = np.random.default_rng(3).random((side, 2 * side, 3)).astype(np.float32)
    world = cv2.GaussianBlur(world, (0, 0), 4)
    world = np.uint8(255 * (world - world.min()) / np.ptp(world))
    left = 20 + 2 * index
    return world[20 : 20 + HEIGHT * 2, left : left + WIDTH * 2].copy(), world


@pytest.mark.slow
def test_remove_shows_what_other_frames_saw():
    shots, clean = [], []
    for index in range(30):
        image, _ = scene(index)
        clean.append(image.copy())
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.circle(mask, (40 + 8 * index, 96), 22, 1, -1)
        y, x = np.nonzero(mask)
        image[mask > 0] = (255, 0, 0)
        box = (int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1)
        item = ObjectResult(1, None, ObjectState.VISIBLE, 1, 1, box, mask > 0)
        shots.append((image, (item,)))
    done = drawn("remove", shots)
    for index in (5, 15, 25):
        mask = shots[index][1][0].mask_hw
        error = np.abs(done[index][mask].astype(int) - clean[index][mask]).mean()
        assert error < 6, (index, error)
        assert np.array_equal(done[index][~around(mask, 31)], shots[index][0][~around(mask, 31)])


def most_ahead(text: str, count: int, shots: int = 40) -> int:
    """Frames that go into an effect before the first comes out, with so many objects on each."""
    chain = EffectChain(parse_effects(text), 25)
    for index in range(shots):
        image = np.random.default_rng(index).integers(0, 256, NOISE.shape, np.uint8)
        objects = tuple(seen(i, 10 * i, 10, 10 * i + 8, 18) for i in range(1, count + 1))
        result = TrackResult(index, objects, StageTimes(0, 0))
        if list(chain.push(Frame("main", index, index, Fraction(1, 25), 0, image), result)):
            return index
    return shots


@pytest.mark.slow
def test_what_looks_ahead_counts_the_masks_that_it_holds(monkeypatch: pytest.MonkeyPatch):
    pixels, room = HEIGHT * WIDTH, 40
    monkeypatch.setattr("tracker.effects.remove._MAX_BYTES", 2 * room * 3 * pixels)
    for count in (1, 8):
        # A picture, the hole, and of each object a mask and distances of four bytes.
        whole = 3 + 1 + 5 * count
        held = most_ahead("remove", count)
        assert room * 3 / (whole + 2) - 1 <= held <= room * 3 / whole  # and what alignment needs
    monkeypatch.setattr("tracker.effects.crop._MAX_BYTES", 10 * 3 * pixels)
    assert most_ahead("crop", 8) == most_ahead("crop", 1) == 10


@pytest.mark.slow
def test_remove_holds_no_more_than_its_bound(monkeypatch: pytest.MonkeyPatch):
    """Pictures with the hole, and of frames to come the object's mask and distances."""
    most = 40 * 3 * HEIGHT * WIDTH
    monkeypatch.setattr("tracker.effects.remove._MAX_BYTES", most)
    chain = EffectChain(parse_effects("remove"), 25)
    arrays, held = [], []
    for index in range(60):
        image = NOISE.copy()
        item = seen(1, 20, 20, 60, 60)
        arrays += [(weakref.ref(image), 3 + 1), (weakref.ref(item.mask_hw), 1 + 4)]
        frame = Frame("main", index, index, Fraction(1, 25), 0, image)
        list(chain.push(frame, TrackResult(index, (item,), StageTimes(0, 0))))
        del image, item, frame
        held.append(sum(size for array, size in arrays if array() is not None) * HEIGHT * WIDTH)
    assert 0.6 * most < max(held) <= most


def test_crop_holds_pictures_alone():
    chain = EffectChain(parse_effects("crop"), 25)
    masks = []
    for index in range(4):
        item = seen(1, 20, 20, 60, 60)
        masks.append(weakref.ref(item.mask_hw))
        frame = Frame("main", index, index, Fraction(1, 25), 0, NOISE)
        assert not list(chain.push(frame, TrackResult(index, (item,), StageTimes(0, 0))))
        del item
    assert [mask() for mask in masks] == [None] * 4


def test_crop_follows_softly_and_stays_in_the_picture():
    places = [20] * 10 + [140] * 30 + [20] * 10
    shots = []
    for x in places:
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[:] = (np.arange(WIDTH) * 255 // WIDTH)[None, :, None]
        shots.append((image, (seen(1, max(0, x - 10), 30, min(WIDTH, x + 10), 60),)))
    pictures = drawn("crop:9x16", shots)
    assert {picture.shape for picture in pictures} == {(96, 54, 3)}
    middles = np.array([int(picture[48, 27, 0]) * WIDTH / 255 for picture in pictures])
    steps = np.diff(middles)
    assert np.abs(steps).max() < 12  # the object jumps by 120
    assert np.abs(np.diff(steps)).max() < 4
    assert middles[25] > 110
    assert middles[0] < 45
    assert middles.min() >= 26
    assert middles.max() <= WIDTH - 26


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    write_clip(tmp_path / "clip.mp4", 3)
    return tmp_path


def track(*options: str) -> int:
    return main(["track", "clip.mp4", "--box", "1:4,10,24,30", "--quiet", *options])


def video(name: str, *options: str) -> np.ndarray:
    assert track("--out", name, *options) == 0
    with open_source(name) as source:
        return np.stack([frame.image for frame in source]).astype(int)


@pytest.mark.slow
def test_the_drawn_video_has_the_overlay_unless_another_effect_is_chosen(folder, monkeypatch):
    plain, overlay = video("plain.mp4"), video("overlay.mp4", "--effect", DEFAULT)
    assert np.array_equal(plain, overlay)
    example = Path(__file__).parents[2] / "examples" / "negative.py"
    entry = "negative = negative:NEGATIVE"
    install(folder / "site", monkeypatch, example, "trackd.effects", entry)
    others = {name: video(f"{name}.mp4", "--effect", name) for name in ("blur", "negative")}
    for picture in others.values():
        assert picture.shape == plain.shape
        assert np.abs(picture - plain)[:, 10:30, :24].mean() > 10
    both = video("both.mp4", "--effect", "negative", "--effect", "rest=pixelate")
    assert np.abs(both - others["negative"])[:, 13:27, 7:21].mean() < 4
    assert (folder / "plain.mp4").read_bytes() == (folder / "overlay.mp4").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--out", "a.mp4", "--effect", "blur:3"), "blur takes nothing after it"),
        (("--out", "a.mp4", "--effect", "background"), "lacks its FILE|COLOUR"),
        (("--out", "a.mp4", "--effect", "background:absent.png"), "no such file, and no colour"),
        (("--out", "a.mp4", "--effect", "crop:wide"), "crop:wide is not WIDTHxHEIGHT"),
        (("--out", "a.mp4", "--effect", "crop", "--effect", "blur"), "crop is not the last"),
        (("--out", "a.mp4", "--effect", "rest=remove"), "remove is for objects, not for the rest"),
        (("--out", "a.mp4", "--effect", "rest=crop:1x1"), "crop is for objects, not for the rest"),
        (("--out", "a.mp4", "--effect", "rest=overlay"), "overlay is for objects, not for the"),
        (
            ("--out", "a.mov", "--effect", "cutout", "--effect", "overlay"),
            "--effect overlay comes after cutout, which makes alpha; give cutout after it",
        ),
        (("--out", "a.mp4", "--effect", "x=blur"), "x=blur is not [TARGET=]NAME"),
        (("--out", "a.mp4", "--effect", "cutout"), ".mp4 has no transparency; name it NAME.mov"),
        (
            (
                "--out",
                "a.avi",
            ),
            "does not end in .mp4 or .mov or .webm",
        ),
        (("--out", "a.mp4", "--encoder", "gpu"), "there are software and hardware"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_nothing_is_written(folder, capsys, options, says):
    assert track(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert [path.name for path in folder.iterdir()] == ["clip.mp4"]
