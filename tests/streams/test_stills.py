"""Still pictures of every kind, against Pillow and against arithmetic."""

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, features

from streams import SourceUnreadable, open_source
from streams.decode.image import SUFFIXES, decode_image

HEIGHT, WIDTH = 40, 48
_X = np.linspace(0, 1, WIDTH)[None, :] * np.ones((HEIGHT, 1))
_Y = np.linspace(0, 1, HEIGHT)[:, None] * np.ones((1, WIDTH))
COLOURS = np.stack([_X, 1 - _X, _Y], axis=-1)  # each pixel differs from its mirror images
ALPHA = np.where(_Y < 0.25, 0.0, 0.5)[..., None]
LOSSLESS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 100},
}


def u8(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (values * 255).round().astype(np.uint8)


def u16(values: NDArray[np.float64]) -> NDArray[np.uint16]:
    return (values * 65535).round().astype(np.uint16)


def encoded(kind: str, *images: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    more = {"save_all": True, "append_images": images[1:]} if len(images) > 1 else {}
    images[0].save(file, kind, **more, **options)
    return file.getvalue()


def tiff(samples: NDArray, photometric: int, *, endian: str, extra: int | None = None) -> bytes:
    """An uncompressed TIFF file, as the specification (TIFF 6.0) lays it out."""
    height, width = samples.shape[:2]
    bands = samples.shape[2] if samples.ndim == 3 else 1
    data = samples.astype(samples.dtype.newbyteorder(endian)).tobytes()
    bits = samples.dtype.itemsize * 8
    values = {256: [width], 257: [height], 258: [bits] * bands, 259: [1], 262: [photometric]}
    values |= {273: [8], 277: [bands], 278: [height], 279: [len(data)]}
    values |= {} if extra is None else {338: [extra]}
    offset = 8 + len(data)
    overflow_at = offset + 2 + 12 * len(values) + 4
    entries, overflow = b"", b""
    for tag, numbers in sorted(values.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"{endian}{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            overflow += packed
            packed = struct.pack(endian + "I", overflow_at + len(overflow) - len(packed))
        entries += struct.pack(endian + "HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    magic = {"<": b"II*\0", ">": b"MM\0*"}[endian]
    head = magic + struct.pack(endian + "I", offset)
    return head + data + struct.pack(endian + "H", len(values)) + entries + bytes(4) + overflow


def assert_close(image: NDArray[np.uint8] | None, expected: NDArray[np.uint8], by: int = 1) -> None:
    assert image is not None
    assert (image.dtype, image.shape, image.flags.c_contiguous) == (np.uint8, expected.shape, True)
    assert np.abs(image.astype(int) - expected).max() <= by


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", LOSSLESS)
def test_every_orientation_is_as_pillow_turns_it(kind: str, orientation: int) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {"tiffinfo": {274: orientation}} if kind == "TIFF" else {"exif": exif}
    content = encoded(kind, Image.fromarray(u8(COLOURS)), **LOSSLESS[kind], **turned)
    with Image.open(io.BytesIO(content)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert upright.shape[:2] == ((HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT))
    assert_close(decode_image(content), upright)


@pytest.mark.parametrize("endian", "<>")
def test_tiffs_of_16_bits_are_scaled_and_gray_ones_become_rgb(endian: str) -> None:
    gray = np.repeat(u8(_X)[..., None], 3, axis=2)
    for content, expected in (
        (tiff(u8(_X), 1, endian=endian), gray),
        (tiff(u16(_X), 1, endian=endian), gray),
        (tiff(u16(1 - _X), 0, endian=endian), gray),  # white is zero
        (tiff(u8(COLOURS), 2, endian=endian), u8(COLOURS)),
        (tiff(u16(COLOURS), 2, endian=endian), u8(COLOURS)),
    ):
        assert_close(decode_image(content), expected)


@pytest.mark.parametrize("scaled", [u8, u16])
def test_alpha_is_left_out_and_darkens_nothing(scaled) -> None:
    content = tiff(scaled(np.concatenate([COLOURS, ALPHA], axis=-1)), 2, endian="<", extra=2)
    assert_close(decode_image(content), u8(COLOURS))
    rgba = Image.fromarray(u8(np.concatenate([COLOURS, ALPHA], axis=-1)))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        assert_close(decode_image(encoded(kind, rgba, **options)), u8(COLOURS))


def test_jpeg_2000_of_8_and_16_bits() -> None:
    if ".jp2" not in SUFFIXES:
        pytest.skip("this Pillow has no JPEG 2000")
    rgb = Image.fromarray(u8(COLOURS))
    assert_close(decode_image(encoded("JPEG2000", rgb)), u8(COLOURS))
    with Image.open(io.BytesIO(encoded("JPEG2000", rgb.convert("YCbCr")))) as image:
        expected = np.asarray(image.convert("RGB"))
    assert_close(decode_image(encoded("JPEG2000", rgb.convert("YCbCr"))), expected)
    gray = np.repeat(u8(_X)[..., None], 3, axis=2)
    assert_close(decode_image(encoded("JPEG2000", Image.fromarray(u16(_X)))), gray)


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.02])
@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG2000", "BMP"])
def test_what_is_cut_short_is_damaged(kind: str, kept: float) -> None:
    if kind in ("AVIF", "JPEG2000") and not features.check(kind.lower().replace("eg2", "g_2")):
        pytest.skip(f"this Pillow has no {kind}")
    content = encoded(kind, Image.fromarray(u8(COLOURS)))
    assert decode_image(content) is not None
    assert decode_image(content[: int(kept * len(content))]) is None


@pytest.mark.parametrize("suffix", ["tif", "TIFF", "png", "webp"])
def test_a_file_of_several_pictures_is_refused_where_it_stands(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    pictures = [Image.fromarray(np.roll(u8(COLOURS), step, 1)) for step in range(3)]
    pictures[0].save(folder / f"0.{suffix}")
    kind = {"tif": "TIFF", "TIFF": "TIFF", "png": "PNG", "webp": "WEBP"}[suffix]
    (folder / f"1.{suffix}").write_bytes(encoded(kind, *pictures))
    says = rf"1\.{suffix} holds (3 pages|an animation), and an image file is one frame; save each"
    with open_source(str(folder)) as source, pytest.raises(SourceUnreadable, match=says):
        list(source)
    if kind == "TIFF":
        with pytest.raises(SourceUnreadable, match=says):
            open_source(str(folder / f"1.{suffix}"))


@pytest.mark.parametrize("big_tiff", [False, True])
def test_a_preview_in_a_tiff_is_no_picture_of_its_own(big_tiff: bool) -> None:
    whole = Image.fromarray(u8(COLOURS))
    preview = whole.resize((WIDTH // 4, HEIGHT // 4))
    preview.encoderinfo = {"tiffinfo": {254: 1}}  # NewSubfileType: reduced resolution
    content = encoded("TIFF", whole, preview, big_tiff=big_tiff)
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 2
        image.seek(1)
        assert image.tag_v2[254] == 1
    assert_close(decode_image(content), u8(COLOURS))


def test_a_still_is_a_source_by_itself_with_its_name(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 5
    path = tmp_path / "photo.v2.JPG"
    Image.fromarray(u8(COLOURS)).save(path, exif=exif, quality=95)
    with open_source(str(path)) as source:
        (frame,) = source
    assert (frame.seq, frame.name, frame.image.shape) == (0, "photo.v2.JPG", (WIDTH, HEIGHT, 3))
    assert (source.info.frame_count, source.info.live) == (1, False)


def test_an_animation_is_a_video(tmp_path: Path) -> None:
    path = tmp_path / "moving.png"
    path.write_bytes(
        encoded("PNG", *(Image.fromarray(np.roll(u8(COLOURS), step, 1)) for step in range(3)))
    )
    with open_source(str(path)) as source:
        frames = list(source)
    assert [frame.name for frame in frames] == [None] * 3


def test_tiffs_are_found_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    for number, suffix in enumerate(("tif", "TIF", "tiff", "Tiff")):
        cv2.imwrite(str(tmp_path / "picture.tif"), np.full((24, 32), 10 * number, np.uint8))
        (tmp_path / "picture.tif").rename(tmp_path / f"{number}.{suffix}")
    with open_source(str(tmp_path)) as source:
        assert [int(frame.image[0, 0, 0]) for frame in source] == [0, 10, 20, 30]
