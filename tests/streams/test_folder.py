"""Reading folders of images and numbered files."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from streams import SourceNotFound, SourceUnreadable, SourceUsageError, open_source
from streams.sources.images import stem_of
from tests.support.streams_clips import big_buck_bunny, corners, gray, read_corners


def save(folder: Path, name: str, level: int, *, width: int = 32, height: int = 24) -> None:
    assert cv2.imwrite(str(folder / name), gray(level, width=width, height=height))


def levels(url: str) -> list[int]:
    with open_source(url) as source:
        return [round(float(frame.image.mean()) / 10) * 10 for frame in source]


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for name, level in [("10.png", 100), ("9.PNG", 90), ("1.jpg", 10), ("b2.webp", 200)]:
        save(tmp_path, name, level)
    save(tmp_path, "b10.bmp", 210)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._1.jpg").write_bytes(b"resource fork")
    (tmp_path / "sub.jpg").mkdir()
    assert levels(str(tmp_path)) == [10, 90, 100, 200, 210]


def test_images_have_no_clock_and_are_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), cv2.cvtColor(corners(), cv2.COLOR_RGB2BGR))
    with open_source(str(tmp_path), stream="stills") as source:
        frame = next(iter(source))
    assert (frame.stream, frame.seq, frame.pts, frame.time_base) == ("stills", 0, None, None)
    np.testing.assert_array_equal(frame.image, corners())
    assert (source.info.width, source.info.height) == (160, 96)
    assert (source.info.fps, source.info.frame_count, source.info.live) == (None, 1, False)
    assert source.info.url == str(tmp_path)


def test_exif_orientation_turns_the_image_upright(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.fromarray(corners())
    exif = picture.getexif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    picture.save(tmp_path / "phone.jpg", exif=exif, quality=95)
    with open_source(str(tmp_path)) as source:
        frame = next(iter(source))
    assert read_corners(frame.image) == "BRKG"
    assert (source.info.width, source.info.height) == (96, 160)


def test_gray_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.full((24, 32), 70, np.uint8))
    cv2.imwrite(str(tmp_path / "1.png"), np.full((24, 32, 4), 90, np.uint8))
    with open_source(str(tmp_path)) as source:
        images = [frame.image for frame in source]
    assert [image.shape for image in images] == [(24, 32, 3)] * 2
    assert [int(image[0, 0, 0]) for image in images] == [70, 90]


def test_a_size_that_changes_goes_on(tmp_path: Path) -> None:
    save(tmp_path, "0.png", 10, width=32, height=24)
    save(tmp_path, "1.png", 20, width=64, height=8)
    with open_source(str(tmp_path)) as source:
        assert [frame.image.shape for frame in source] == [(24, 32, 3), (8, 64, 3)]


def test_an_undecodable_image_leaves_its_place_empty_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(b"")
    save(tmp_path, "1.png", 10)
    (tmp_path / "2.jpg").write_text("hello")
    save(tmp_path, "3.png", 30)
    with open_source(str(tmp_path)) as source:
        frames = list(source)
    assert [(frame.seq, frame.name) for frame in frames] == [(1, "1.png"), (3, "3.png")]
    assert (source.stats.frames, source.stats.corrupt_packets) == (2, 2)
    assert source.stats.damaged_names == ["0.jpg", "2.jpg"]
    assert source.info.frame_count == 4


def test_of_many_damaged_images_the_first_names_are_kept(tmp_path: Path) -> None:
    save(tmp_path, "000.png", 10)
    for number in range(1, 200):
        (tmp_path / f"{number:03d}.png").write_bytes(b"damaged")
    with open_source(str(tmp_path)) as source:
        assert len(list(source)) == 1
    assert source.stats.corrupt_packets == 199
    assert source.stats.damaged_names == [f"{number:03d}.png" for number in range(1, 21)]


def test_frames_carry_the_names_of_their_files(tmp_path: Path) -> None:
    names = ["-1.png", "100%.PNG", "50%d off.png", "a b.c.png", "größe.png"]
    for name in names:
        save(tmp_path, name, 10)
    with open_source(str(tmp_path)) as source:
        assert sorted(frame.name or "" for frame in source) == names
    with open_source(str(tmp_path / "50%d off.png")) as source:  # a file of this very name
        assert [frame.name for frame in source] == ["50%d off.png"]
    save(tmp_path, "100%_007.png", 10)
    with open_source(str(tmp_path / "100%_%03d.png")) as source:
        assert [(frame.seq, frame.name) for frame in source] == [(0, "100%_007.png")]
    with open_source("lavfi:testsrc2=size=64x48") as source:
        assert next(iter(source)).name is None


def test_a_stem_is_a_name_without_its_suffix() -> None:
    for name, stem in (
        ("a.jpg", "a"),
        ("a.b.JPG", "a.b"),
        ("a", "a"),
        (".hidden", ".hidden"),
        ("shot.0001", "shot.0001"),  # of a pattern such as shot.%04d
    ):
        assert stem_of(name) == stem


def test_a_pattern_takes_the_files_that_match_by_number(tmp_path: Path) -> None:
    for number in (7, 3, 12):
        save(tmp_path, f"shot_{number:03d}.png", number * 10)
    save(tmp_path, "shot_99.png", 200)
    save(tmp_path, "other_001.png", 210)
    assert levels(str(tmp_path / "shot_%03d.png")) == [30, 70, 120]
    assert levels(str(tmp_path / "shot_%d.png")) == [200]


@pytest.mark.slow
def test_a_video_made_into_a_folder_keeps_its_pictures(tmp_path: Path) -> None:
    with open_source(str(big_buck_bunny())) as video:
        originals = [frame.image for frame, _ in zip(video, range(3), strict=False)]
    for index, image in enumerate(originals):
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(tmp_path / f"{index:05d}.png"), bgr)
    with open_source(str(tmp_path / "%05d.png")) as source:
        for frame, original in zip(source, originals, strict=True):
            np.testing.assert_array_equal(frame.image, original)


def test_closing_ends_the_iteration(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path, f"{number}.png", 10)
    source = open_source(str(tmp_path))
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []


def test_folders_that_cannot_be_tracked_say_why(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceNotFound, match=r"the folder is empty: .*empty; check the path"):
        open_source(str(empty))
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("a")
    with pytest.raises(SourceNotFound, match=r"no images in the folder .*texts; expected jpg"):
        open_source(str(texts))
    (texts / "a.jpg").write_text("a")
    with pytest.raises(SourceUnreadable, match=r"none of the 1 images of .*texts can be decoded"):
        open_source(str(texts))
    with pytest.raises(SourceNotFound, match=r"no file matches .*%05d\.jpg"):
        open_source(str(texts / "%05d.jpg"))
    with pytest.raises(SourceNotFound, match=r"no file matches .*%05d\.jpg"):
        open_source(str(tmp_path / "nowhere" / "%05d.jpg"))
    with pytest.raises(SourceUsageError, match="more than one counter"):
        open_source(str(texts / "%d_%d.jpg"))


def test_an_image_that_vanishes_is_one_clear_error(tmp_path: Path) -> None:
    save(tmp_path, "0.png", 10)
    save(tmp_path, "1.png", 10)
    with open_source(str(tmp_path)) as source:
        (tmp_path / "1.png").unlink()
        with pytest.raises(SourceNotFound, match=r"no such file: .*1\.png; check the path"):
            list(source)
