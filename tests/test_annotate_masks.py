"""Masks on disk."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from tracker.annotate.mask_png import read_mask_png
from tracker.errors import PromptError
from tracker.rle import Rle, decode_rle, encode_rle


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_rle_survives_the_round_trip_and_pycocotools_reads_it(height, width, seed, share):
    mask_hw = np.random.default_rng(seed).random((height, width)) < share
    rle = encode_rle(mask_hw)
    assert np.array_equal(decode_rle(rle), mask_hw)
    official = coco_mask.decode({"size": [rle.height, rle.width], "counts": rle.counts})
    assert np.array_equal(official.astype(bool), mask_hw)


def test_rle_of_a_large_mask():
    mask_hw = np.zeros((2160, 3840), np.bool_)
    mask_hw[100:2000, 7:3800] = True
    assert np.array_equal(decode_rle(encode_rle(mask_hw)), mask_hw)


@pytest.mark.parametrize(
    ("rle", "says"),
    [
        (Rle(3, 3, "0130"), "counts 5 pixels"),
        (Rle(3, 4, "013000"), "needs 12"),
        (Rle(3, 3, "01é"), "hold 'é'"),
        (Rle(3, 3, " "), "hold ' '"),
        (Rle(3, 3, "0P"), "middle of a run"),
        (Rle(3, 3, ""), "middle of a run"),
        (Rle(3, 3, "OOOO"), "negative run"),
        (Rle(3, 3, "oooooooooooo"), "hold 'o'"),
        (Rle(0, 0, "0"), "0x0 pixels"),
        (Rle(20000, 3, "0"), "3x20000 pixels"),
    ],
)
def test_rle_that_is_none_is_refused(rle, says):
    with pytest.raises(PromptError, match=says):
        decode_rle(rle)


def _masks() -> dict[str, Image.Image]:
    ids = np.zeros((4, 6), np.uint8)
    ids[1:3, 2:5] = 3
    palette = Image.fromarray(ids, mode="P")
    palette.putpalette([0, 0, 0] * 256)
    grey = Image.fromarray(ids * 80)
    rgb = Image.merge("RGB", (Image.new("L", grey.size), grey, Image.new("L", grey.size)))
    opaque, drawn = Image.new("L", grey.size, 255), Image.fromarray((ids > 0) * np.uint8(255))
    black = Image.new("L", grey.size)
    return {
        "palette, all black": palette,
        "grey": grey,
        "one bit": drawn.convert("1"),
        "16 bit": Image.fromarray(ids.astype(np.uint16) * 9000),
        "colour": rgb,
        "opaque with alpha": Image.merge("RGBA", (*rgb.split(), opaque)),
        "black on nothing": Image.merge("RGBA", (black, black, black, drawn)),
        "grey with alpha": Image.merge("LA", (grey, opaque)),
    }


@pytest.mark.parametrize("kind", list(_masks()))
def test_every_kind_of_png_gives_the_same_mask(tmp_path: Path, kind: str):
    path = tmp_path / "mask.png"
    _masks()[kind].save(path)
    expected = np.zeros((4, 6), np.bool_)
    expected[1:3, 2:5] = True
    assert np.array_equal(read_mask_png(path), expected)


def test_a_jpeg_or_a_broken_png_is_no_mask(tmp_path: Path):
    jpeg, cut = tmp_path / "jpeg.png", tmp_path / "cut.png"
    Image.new("L", (64, 64), 255).save(jpeg, format="JPEG")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(noise).save(cut)
    cut.write_bytes(cut.read_bytes()[:900])
    for path in (jpeg, cut):
        with pytest.raises(PromptError, match="not a readable PNG mask"):
            read_mask_png(path)
    with pytest.raises(PromptError, match="no such mask file"):
        read_mask_png(tmp_path / "absent.png")
