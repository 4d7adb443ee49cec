"""Masks on disk."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from tracker.annotate.mask_png import read_mask, read_mask_png, read_object_masks
from tracker.errors import PromptError
from tracker.rle import Rle, decode_rle, encode_rle


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_rle_survives_the_round_trip_and_is_the_text_of_pycocotools(height, width, seed, share):
    mask_hw = np.random.default_rng(seed).random((height, width)) < share
    rle = encode_rle(mask_hw)
    assert np.array_equal(decode_rle(rle), mask_hw)
    official = coco_mask.encode(np.asfortranarray(mask_hw, dtype=np.uint8))
    assert (official["size"], official["counts"].decode()) == ([height, width], rle.counts)


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
        (Rle(3, 3, "oooooooooooo"), "a run that is too long|middle of a run"),
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


def label_map(kind: str = "palette") -> tuple[Image.Image, np.ndarray]:
    """An image of objects 1 and 2 and of pixels that nobody judged, and its ids."""
    ids = np.zeros((8, 12), np.uint16)
    ids[1:3, 1:5], ids[4:7, 3:9], ids[7, :] = 1, 2, 255
    if kind == "16 bit":
        ids[ids == 2], ids[ids == 255] = 300, 65535
        return Image.fromarray(ids), ids
    image = Image.fromarray(ids.astype(np.uint8), mode="P" if kind == "palette" else "L")
    if kind == "palette":
        image.putpalette([part for index in range(256) for part in (index, 0, 255 - index)])
    return image, ids


KINDS = {"palette": (1, 2), "grey": (1, 2), "16 bit": (1, 300)}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_file_of_several_objects_is_no_mask_of_one(tmp_path: Path, kind: str):
    path = tmp_path / "two.png"
    label_map(kind)[0].save(path)
    with pytest.raises(PromptError, match=r"two\.png holds several objects: ids 1, ") as caught:
        read_mask_png(path)
    assert "two.png#1" in caught.value.hint
    assert f"--masks {path}" in caught.value.hint


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_object_of_a_file_can_be_had(tmp_path: Path, kind: str):
    image, ids = label_map(kind)
    image.save(tmp_path / "two.png")
    found = dict(read_object_masks(tmp_path / "two.png"))
    assert tuple(found) == KINDS[kind]
    for object_id, mask_hw in found.items():
        assert np.array_equal(mask_hw, ids == object_id)
        assert np.array_equal(read_mask(f"two.png#{object_id}", tmp_path), ids == object_id)
    unjudged = int(ids.max())
    assert np.array_equal(read_mask(f"two.png#{unjudged}", tmp_path), ids == unjudged)


@pytest.mark.parametrize("absent", [0, 7, 70000])
def test_an_object_that_a_file_lacks(tmp_path: Path, absent: int):
    label_map()[0].save(tmp_path / "two.png")
    with pytest.raises(PromptError, match=rf"has no object {absent}; it holds ids 1, 2, 255"):
        read_mask(f"two.png#{absent}", tmp_path)


def test_one_object_and_what_nobody_judged(tmp_path: Path):
    image, ids = label_map()
    values = np.where(ids == 2, 0, ids).astype(np.uint8)
    one = Image.fromarray(values, mode="P")
    one.putpalette(image.getpalette())
    one.save(tmp_path / "one.png")
    assert np.array_equal(read_mask_png(tmp_path / "one.png"), ids == 1)
    assert [object_id for object_id, _ in read_object_masks(tmp_path / "one.png")] == [1]


def test_the_colours_of_davis_are_ids_too(tmp_path: Path):
    ids = label_map()[1]
    colours = np.zeros((*ids.shape, 3), np.uint8)
    colours[ids == 1], colours[ids == 2] = (128, 0, 0), (0, 128, 0)  # as in the DAVIS release
    Image.fromarray(colours).save(tmp_path / "rgb.png")
    with pytest.raises(PromptError, match="holds several objects: ids 1, 2"):
        read_mask_png(tmp_path / "rgb.png")
    assert np.array_equal(read_mask("rgb.png#2", tmp_path), ids == 2)


def test_a_binary_mask_and_one_with_soft_edges_stay_masks(tmp_path: Path):
    soft = np.zeros((8, 12), np.uint8)
    soft[1:7, 2:10], soft[1, 2:10], soft[6, 2:10] = 255, 90, 200
    Image.fromarray(soft).save(tmp_path / "soft.png")
    assert np.array_equal(read_mask_png(tmp_path / "soft.png"), soft > 0)
    Image.fromarray(soft).convert("RGB").save(tmp_path / "rgb.png")
    assert np.array_equal(read_mask_png(tmp_path / "rgb.png"), soft > 0)
    binary = np.where(soft == 255, 255, 0).astype(np.uint8)
    for mode in ("L", "P"):
        image = Image.fromarray(binary, mode="L")
        image = image.convert("P") if mode == "P" else image
        image.save(tmp_path / "binary.png")
        assert np.array_equal(read_mask_png(tmp_path / "binary.png"), binary > 0)
        with pytest.raises(PromptError, match=r"holds no object ids, but ids 255; a mask: --mask"):
            list(read_object_masks(tmp_path / "binary.png"))


def test_a_cut_out_photograph_is_a_mask(tmp_path: Path):
    photo = np.random.default_rng(0).integers(1, 255, (8, 12, 3), np.uint8)
    photo[:, 6:] = 0
    Image.fromarray(photo).save(tmp_path / "photo.png")
    assert np.array_equal(read_mask_png(tmp_path / "photo.png"), photo.any(axis=2))
    with pytest.raises(PromptError, match="colour image without ids"):
        read_mask("photo.png#1", tmp_path)


def test_a_number_sign_in_the_name_of_a_file(tmp_path: Path):
    image, ids = label_map()
    whole = np.full((8, 12), 255, np.uint8)
    image.save(tmp_path / "take#2.png")
    Image.fromarray(whole).save(tmp_path / "shot.png#1", format="PNG")
    assert np.array_equal(read_mask("take#2.png#1", tmp_path), ids == 1)
    assert read_mask("shot.png#1", tmp_path).all()
    with pytest.raises(PromptError, match=r"absent\.png: no such mask file"):
        read_mask("absent.png#1", tmp_path)
