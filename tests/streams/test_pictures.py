"""Pictures as sources: orientation, colour profiles, tiles, pages, transparency, animations."""

import io
import json
import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, features

from streams import Frame, Source, SourceUnreadable, open_source
from tests.support.heif_files import heif
from tests.support.streams_clips import corners, gray, read_corners, write_clip

CORPUS = Path(__file__).parents[2] / "tools" / "fuzz" / "media" / "corpus"
ORIENTATION = 0x0112  # of EXIF
READER = """
import gc, json, sys
import numpy as np
from streams import open_source
kept = []
for path in sys.argv[1:]:
    with open_source(path) as source:
        gc.collect()
        for frame in source:
            gc.collect()
            mean = frame.image.reshape(-1, 3).mean(0).round(1).tolist()
            kept.append([list(frame.image.shape), mean])
    gc.collect()
print(json.dumps(kept))
"""


def read_apart(*paths: Path) -> list[tuple[list[int], list[float]]]:
    """Read files in a process of their own, with garbage collections; its death fails the test."""
    command = [sys.executable, "-c", READER, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[-2000:]}"
    return [(shape, mean) for shape, mean in json.loads(done.stdout)]


def frames_of(path: Path) -> tuple[Source, list[Frame]]:
    with open_source(str(path)) as source:
        return source, list(source)


def save(path: Path, image: NDArray[np.uint8], orientation: int | None = None) -> Path:
    picture = Image.fromarray(image)
    exif = picture.getexif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    picture.save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


@pytest.mark.slow
def test_side_data_of_pictures_do_not_end_the_process() -> None:
    paths = [CORPUS / "png-with-colour-profile.png", CORPUS / "exif-photo.jpg"]
    read = read_apart(*paths, *paths, *paths)
    for path, (shape, mean) in zip(paths, read, strict=False):
        with Image.open(path) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert shape == list(expected.shape)
        assert mean == pytest.approx(expected.reshape(-1, 3).mean(0), abs=2)
    assert read == read[:2] * 3


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_exif_orientations_are_those_that_pillow_applies(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    for orientation in range(1, 9):
        path = save(tmp_path / f"{orientation}{suffix}", corners(), orientation)
        with Image.open(path) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        [frame] = frames_of(path)[1]
        assert frame.image.shape == expected.shape
        assert read_corners(frame.image) == read_corners(expected), orientation


def test_each_picture_of_a_stream_is_turned_as_it_says(tmp_path: Path) -> None:
    # 2 and 3 have the same angle, 1 and 4 have none.
    orientations = (1, 4, 2, 3, 1)
    paths = [save(tmp_path / f"{at}.png", corners(), at) for at in orientations]
    joined = tmp_path / "joined.pngs"  # no image file, but a stream of pictures
    joined.write_bytes(b"".join(path.read_bytes() for path in paths))
    seen = [read_corners(frame.image) for frame in frames_of(joined)[1]]
    expected = []
    for path in paths:
        with Image.open(path) as image:
            expected.append(read_corners(np.asarray(ImageOps.exif_transpose(image))))
    assert seen == expected


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg to compare with")
@pytest.mark.parametrize("angle", [0, 90, 180, -90])
@pytest.mark.parametrize("mirrored", [(False, False), (True, False), (False, True), (True, True)])
def test_display_matrices_of_a_video_are_those_that_ffmpeg_applies(
    tmp_path: Path, angle: int, mirrored: tuple[bool, bool]
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [corners()] * 2, rotation=(angle, *mirrored))
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-frames:v", "1"]
    command += ["-f", "image2pipe", "-c:v", "png", "-"]
    png = subprocess.run(command, capture_output=True, check=True).stdout
    expected = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    images = [frame.image for frame in frames_of(clip)[1]]
    assert {image.shape for image in images} == {expected.shape}
    assert [read_corners(image) for image in images] == [read_corners(expected)] * 2


@pytest.mark.parametrize(
    ("matrix", "seen"),
    [
        ([0, 0, 0, 0, 0, 0, 0, 0, 0], "RGBK"),  # says nothing
        ([32768, 0, 0, 0, 32768, 0, 0, 0, 1 << 30], "RGBK"),  # half the size
        ([0, -20000, 0, 20000, 0, 0, 0, 0, 1 << 30], "GKRB"),  # a quarter to the left, and smaller
        ([-(2**31), 0, 0, 0, -(2**31), 0, 0, 0, 1 << 30], "KBGR"),  # half a turn, and larger
    ],
)
def test_display_matrices_of_other_sizes_turn_pictures_too(
    tmp_path: Path, matrix: list[int], seen: str
) -> None:
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width = corners().shape[:2]
        video.pix_fmt = "yuv420p"
        video.set_display_matrix(matrix)
        container.mux(video.encode(av.VideoFrame.from_ndarray(corners(), format="rgb24")))
        container.mux(video.encode(None))
    assert [read_corners(frame.image) for frame in frames_of(clip)[1]] == [seen]


def test_a_picture_in_tiles_is_refused_and_not_shown_in_part() -> None:
    with pytest.raises(SourceUnreadable, match="is one picture in 6 tiles") as caught:
        open_source(str(CORPUS / "picture-in-tiles.heic"))
    assert "convert it" in caught.value.hint


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif", "jp2", "avif"])
def test_a_picture_cut_in_its_header_is_one_clear_error(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = 1  # so that a WebP has a header of the extended form
    Image.fromarray(corners()).save(whole, exif=exif)
    cut = tmp_path / f"cut.{suffix}"
    for length in range(64):
        cut.write_bytes(whole.read_bytes()[:length])
        with pytest.raises(SourceUnreadable):
            open_source(str(cut)).close()


def test_an_avif_in_tiles_is_put_together(tmp_path: Path) -> None:
    levels = range(0, 240, 40)
    tiles = [gray(level, width=64, height=64) for level in levels]
    path = tmp_path / "photo.avif"
    path.write_bytes(heif(tiles, grid=(2, 3)))
    [frame] = frames_of(path)[1]
    assert frame.image.shape == (2 * 64, 3 * 64, 3)
    middles = frame.image[32::64, 32::64].mean(2)
    assert middles.ravel() == pytest.approx(list(levels), abs=3)


@pytest.mark.parametrize("major", [b"avif", b"mif1"])
def test_an_avif_is_turned_upright_whatever_its_first_brand(tmp_path: Path, major: bytes) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: its first row is the right side, its first column the top
    Image.fromarray(corners()).save(file, "AVIF", exif=exif)
    data = file.getvalue()
    assert data[4:12] == b"ftypavif" and b"mif1" in data[16:64]
    path = tmp_path / "photo.avif"
    path.write_bytes(data[:8] + major + data[12:])
    [frame] = frames_of(path)[1]
    turned = cv2.rotate(corners(), cv2.ROTATE_90_CLOCKWISE)
    assert frame.image.shape == turned.shape
    assert read_corners(frame.image) == read_corners(turned)


@pytest.mark.parametrize("primary", [1, 2])
def test_the_main_picture_of_a_file_is_shown_and_no_thumbnail(tmp_path: Path, primary: int) -> None:
    small, large = gray(60, width=64, height=64), gray(200, width=128, height=96)
    images = [small, large] if primary == 2 else [large, small]
    path = tmp_path / "photo.avif"
    path.write_bytes(heif(images, grid=None, primary=primary))
    [frame] = frames_of(path)[1]
    assert frame.image.shape == large.shape
    assert frame.image.mean() == pytest.approx(200, abs=3)


def test_transparency_of_an_animated_avif_is_not_taken_for_its_colours(tmp_path: Path) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    rng = np.random.default_rng(1)
    pictures = []
    for index in range(5):
        rgba = np.empty((96, 160, 4), np.uint8)
        rgba[..., :3] = (200, 30 * index, 20)
        rgba[..., 3] = rng.integers(0, 256, (96, 160))  # costs far more bits than the colours
        pictures.append(Image.fromarray(rgba))
    path = tmp_path / "animated.avif"
    durations_ms = [80, 80, 200, 80, 80]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations_ms)
    frames = frames_of(path)[1]
    starts_s = np.cumsum([0, *durations_ms[:-1]]) / 1000
    assert [frame.time_s for frame in frames] == pytest.approx(list(starts_s))
    for index, frame in enumerate(frames):
        assert frame.image.reshape(-1, 3).mean(0) == pytest.approx([200, 30 * index, 20], abs=4)


def test_the_largest_picture_of_an_icon_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "icon.ico"
    Image.fromarray(gray(120, width=128, height=128)).save(path, sizes=[(16, 16), (128, 128)])
    [frame] = frames_of(path)[1]
    assert frame.image.shape == (128, 128, 3)


def test_pages_of_a_tiff_are_refused_but_not_its_smaller_copies(tmp_path: Path) -> None:
    large, small = (Image.fromarray(gray(90, width=w, height=w)) for w in (96, 48))
    pages, pyramid = tmp_path / "pages.tif", tmp_path / "pyramid.tif"
    large.save(pages, save_all=True, append_images=[large, large])
    with pytest.raises(SourceUnreadable, match="holds 3 pages"):
        open_source(str(pages))
    small.encoderinfo = {"tiffinfo": {254: 1}}  # NewSubfileType: a smaller copy
    large.save(pyramid, save_all=True, append_images=[small])
    with Image.open(pyramid) as image:
        image.seek(1)
        assert image.tag_v2[254] == 1
    assert [frame.image.shape for frame in frames_of(pyramid)[1]] == [(96, 96, 3)]


@pytest.mark.parametrize(("kind", "suffix"), [("WEBP", ".webp"), ("GIF", ".gif"), ("PNG", ".png")])
def test_animations_keep_their_pictures_and_times(tmp_path: Path, kind: str, suffix: str) -> None:
    durations_ms = [40, 120, 40, 500, 80, 60]
    pictures = [Image.fromarray(gray(40 * index)) for index in range(6)]
    path = tmp_path / f"animation{suffix}"
    pictures[0].save(path, kind, save_all=True, append_images=pictures[1:], duration=durations_ms)
    source, frames = frames_of(path)
    starts_s = np.cumsum([0, *durations_ms[:-1]]) / 1000
    assert [frame.time_s for frame in frames] == pytest.approx(list(starts_s))
    assert [frame.image.mean() for frame in frames] == pytest.approx(
        [40 * index for index in range(6)], abs=2
    )
    assert [frame.seq for frame in frames] == list(range(6))
    assert (source.info.width, source.info.height, source.info.live) == (64, 48, False)


def test_an_animated_webp_that_is_cut_gives_what_is_left(tmp_path: Path) -> None:
    whole = CORPUS / "animated.webp"
    with Image.open(whole) as image:
        count = image.n_frames
    source, frames = frames_of(whole)
    assert len(frames) == source.info.frame_count == count
    assert source.stats.damage is None
    cut = tmp_path / "cut.webp"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source, left = frames_of(cut)
    assert source.stats.damage == "the file is cut short"
    assert 0 < len(left) < count
    for frame, expected in zip(left, frames, strict=False):
        np.testing.assert_array_equal(frame.image, expected.image)


def test_an_animated_webp_with_a_hole_tells_that_frames_are_lost(tmp_path: Path) -> None:
    encoded = bytearray((CORPUS / "animated.webp").read_bytes())
    starts = [match.start() for match in re.finditer(b"ANMF", encoded)]
    encoded[starts[3] : starts[4]] = bytes(starts[4] - starts[3])
    hole = tmp_path / "hole.webp"
    hole.write_bytes(encoded)
    source, frames = frames_of(hole)
    assert len(frames) == 3
    assert source.stats.damage == f"what follows byte {starts[3]} is no WebP"


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("L", ".png"),
        ("P", ".png"),
        ("LA", ".png"),
        ("1", ".png"),
        ("CMYK", ".jpg"),
        ("I;16", ".png"),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (150, 51)])
def test_pictures_of_every_kind_and_size_become_rgb(
    tmp_path: Path, mode: str, suffix: str, size: tuple[int, int]
) -> None:
    width, height = size
    level = np.full((height, width), 0xC8, np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(level.astype(np.uint16) * 0x101)
    else:
        picture = Image.fromarray(level).convert("RGB" if mode == "CMYK" else "L").convert(mode)
    path = tmp_path / f"picture{suffix}"
    picture.save(path)
    [frame] = frames_of(path)[1]
    assert frame.image.shape == (height, width, 3)
    expected = 0xC8 if mode == "I;16" else np.asarray(picture.convert("RGB")).mean()
    assert frame.image.mean() == pytest.approx(expected, abs=3)


@pytest.mark.parametrize(("width", "height"), [(20000, 16), (16, 20000)])
def test_pictures_wider_or_higher_than_codecs_allow_become_rgb(
    tmp_path: Path, width: int, height: int
) -> None:
    path = tmp_path / "long.png"
    Image.fromarray(gray(77, width=width, height=height)).save(path)
    [frame] = frames_of(path)[1]
    assert frame.image.shape == (height, width, 3)
    assert set(np.unique(frame.image)) == {77}


def test_a_picture_without_end_of_memory_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    header = bytearray(save(path, gray(9)).read_bytes())
    header[16:24] = (60000).to_bytes(4, "big") * 2
    path.write_bytes(header)
    with pytest.raises(SourceUnreadable, match="can be decoded") as caught:
        open_source(str(path))
    assert "\n" not in str(caught.value)


def write_black_png(path: Path, width: int, height: int) -> None:
    """A picture of one bit a pixel; Pillow would hold a byte for each of them."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + width // 8) * height), 1)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.mark.slow
@pytest.mark.parametrize("of_a_folder", [False, True])
def test_a_small_file_that_unpacks_to_a_huge_picture_is_refused(
    tmp_path: Path, of_a_folder: bool
) -> None:
    # OpenCV allows 2**30 pixels, and FFmpeg is told to allow 2**27.
    size = (40000, 30000) if of_a_folder else (16400, 8200)
    path = tmp_path / "huge.png"
    write_black_png(path, *size)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(SourceUnreadable, match="is too large"):
        open_source(str(tmp_path if of_a_folder else path))
