"""Segmenters in ONNX files: against other implementations, and with files of other models."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from tests.support import tiny_onnx
from tests.support.moving_square import picture
from tests.support.photo import photo
from tracker.cli.main import main
from tracker.errors import ModelError, UsageError
from tracker.finders.boxes import mask_iou
from tracker.segmenters.efficient_sam import EfficientSam
from tracker.segmenters.fast_sam import FastSam
from tracker.segmenters.sam_onnx import SamOnnx
from tracker.types import Prompt

CPU = torch.device("cpu")
BOX = Prompt(1, box_xyxy=(20, 30, 60, 70))
CLICK = Prompt(2, points_xy=((80, 40),), point_labels=(1,))


def disc(x: float, y: float, radius: float, shape: tuple[int, int]) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def test_efficient_sam_gives_the_mask_of_largest_predicted_iou(tmp_path: Path):
    segmenter = EfficientSam(tiny_onnx.efficient_sam(tmp_path), CPU, "efficientsam-tiny")
    image_hwc = photo(90, 120)
    found = segmenter.segment(image_hwc, [BOX, CLICK])
    assert np.array_equal(found.masks_nhw[0], disc(40, 50, 8, (90, 120)))
    assert np.array_equal(found.masks_nhw[1], disc(80, 40, 8, (90, 120)))
    red = image_hwc[..., 0].mean() / 255
    assert found.scores_n == pytest.approx([0.5 + red] * 2, abs=1e-4)
    assert segmenter.segment(image_hwc, []).masks_nhw.shape == (0, 90, 120)


@pytest.mark.slow
def test_the_pair_of_sam_gives_the_masks_of_transformers(tmp_path: Path):
    """MobileSAM's pair of files has these inputs and outputs, here of a small SAM."""
    import transformers as hf

    from tests.support import sam_export
    from tests.support import tiny_transformers as tiny

    folder = tiny.make(tiny.sam, tmp_path / "sam")
    network = hf.SamModel.from_pretrained(folder).eval()
    processor = hf.SamProcessor.from_pretrained(folder)
    sam_export.export(network, tmp_path / "onnx", side=128)
    segmenter = SamOnnx(tmp_path / "onnx", CPU, "mobilesam")
    image_hwc = photo(90, 120)
    found = segmenter.segment(image_hwc, [BOX, CLICK])
    for index, given in enumerate(
        [
            {"input_boxes": [[list(BOX.box_xyxy)]]},
            {"input_points": [[[[80, 40]]]], "input_labels": [[[1]]]},
        ]
    ):
        inputs = processor(images=Image.fromarray(image_hwc), return_tensors="pt", **given)
        with torch.no_grad():
            outputs = network(**inputs, multimask_output=True)
        (masks,) = processor.post_process_masks(
            outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
        )
        best = int(outputs.iou_scores[0, 0].argmax())
        assert mask_iou(found.masks_nhw[index], masks[0, best].numpy()) >= 0.999
        expected = float(outputs.iou_scores[0, 0, best])
        assert found.scores_n[index] == pytest.approx(expected, abs=1e-4)


SIDE, LOW = 64, 16


def fast_sam_file(path: Path) -> Path:
    """Two objects on a picture that is twice as wide as high: a left and a right half-disc."""
    rows, columns = np.mgrid[:LOW, :LOW]
    left = np.where((columns < 8) & (rows >= 4) & (rows < 12), 5.0, -5.0)
    right = np.where((columns >= 8) & (rows >= 4) & (rows < 12), 5.0, -5.0)
    detections = np.array(
        [
            [16, 32, 32, 32, 0.9, 1, 0],
            [16, 32, 32, 30, 0.8, 1, 0],  # the first again, of a lower score
            [48, 32, 32, 16, 0.7, 0, 1],  # its box is lower than its mask
            [48, 32, 32, 32, 0.1, 0, 1],  # not sure enough
        ]
    )
    return tiny_onnx.fast_sam(path, detections.T, np.stack([left, right]), SIDE)


def test_fast_sam_matches_what_it_finds_with_the_prompts(tmp_path: Path):
    fast_sam_file(tmp_path / "model.onnx")
    segmenter = FastSam(tmp_path, CPU, "fastsam")
    image_hwc = photo(40, 80)  # in a square of 64 pixels: 32 high, from row 16 on
    masks_khw, score_k = segmenter.everything(image_hwc)
    assert score_k == pytest.approx([0.9, 0.7])
    left = np.zeros((40, 80), np.bool_)
    left[:, :40] = True
    assert mask_iou(masks_khw[0], left) > 0.9
    middle = np.zeros((40, 80), np.bool_)
    middle[10:30, 40:] = True  # rows 24 to 40 of the square
    assert mask_iou(masks_khw[1], middle) > 0.9
    prompts = [
        Prompt(1, box_xyxy=(45, 5, 80, 35)),
        Prompt(2, points_xy=((10, 20),), point_labels=(1,)),
        Prompt(3, points_xy=((60, 20), (10, 20)), point_labels=(1, 0)),
        Prompt(4, points_xy=((10, 20),), point_labels=(0,)),
    ]
    found = segmenter.segment(image_hwc, prompts)
    for index, best in enumerate([1, 0, 1]):
        assert np.array_equal(found.masks_nhw[index], masks_khw[best])
        assert found.scores_n[index] == score_k[best]
    assert not found.masks_nhw[3].any()


def test_its_suppression_is_that_of_torchvision_and_masks_end_at_their_boxes(tmp_path: Path):
    rng = np.random.default_rng(2)
    detections = np.concatenate(
        [rng.uniform(8, 56, (40, 2)), rng.uniform(8, 40, (40, 2)), rng.random((40, 1))], axis=1
    )
    detections = np.concatenate([detections, np.ones((40, 1))], axis=1).astype(np.float32)
    everywhere = np.full((1, LOW, LOW), 3.0)
    tiny_onnx.fast_sam(tmp_path / "model.onnx", detections.T, everywhere, SIDE)
    masks_khw, score_k = FastSam(tmp_path, CPU, "fastsam").everything(photo(64, 64))
    good = detections[detections[:, 4] >= 0.4]
    good = good[np.argsort(-good[:, 4])]
    kept: list[NDArray] = []
    for item in good:  # greedy suppression, written out
        box = np.concatenate([item[:2] - item[2:4] / 2, item[:2] + item[2:4] / 2])
        if all(_iou(box, other) <= 0.9 for other in kept):
            kept.append(box)
    assert len(masks_khw) == len(score_k) == len(kept) > 5
    for mask_hw, box in zip(masks_khw, kept, strict=True):
        x0, y0, x1, y1 = np.clip(box.round(), 0, 64).astype(int)
        assert mask_hw.sum() == (y1 - y0) * (x1 - x0) == mask_hw[y0:y1, x0:x1].sum()


def _iou(first: NDArray, second: NDArray) -> float:
    size = np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None)
    inside = size.prod()
    areas = (first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod()
    return float(inside / (areas - inside))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_pictures_of_one_pixel_a_side_are_no_fault(tmp_path: Path, size):
    fast_sam_file(tmp_path / "model.onnx")
    tiny_onnx.efficient_sam(tmp_path)
    prompt = Prompt(1, points_xy=((0, 0),), point_labels=(1,))
    for segmenter in (FastSam(tmp_path, CPU, "f"), EfficientSam(tmp_path, CPU, "e")):
        found = segmenter.segment(np.zeros((*size, 3), np.uint8), [prompt])
        assert found.masks_nhw.shape == (1, *size)


def test_files_of_other_models_are_one_clear_error(tmp_path: Path):
    tiny_onnx.efficient_sam(tmp_path)
    fast_sam_file(tmp_path / "model.onnx")
    (tmp_path / "encoder.onnx").rename(tmp_path / "other.onnx")
    (tmp_path / "model.onnx").rename(tmp_path / "encoder.onnx")
    with pytest.raises(ModelError, match=r"encoder.onnx is no encoder of x: it takes images and"):
        EfficientSam(tmp_path, CPU, "x")
    with pytest.raises(ModelError, match=r"decoder.onnx is no decoder of mobilesam: it takes im"):
        SamOnnx(tmp_path, CPU, "mobilesam")
    (tmp_path / "other.onnx").rename(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"model.onnx is no fastsam: .* gives 1 outputs, not"):
        FastSam(tmp_path, CPU, "fastsam")
    (tmp_path / "model.onnx").write_bytes(b"no protobuf")
    with pytest.raises(ModelError, match=r"model.onnx cannot be loaded as an ONNX model: .*; give"):
        FastSam(tmp_path, CPU, "fastsam")


def test_outputs_of_another_network_are_one_clear_error(tmp_path: Path):
    detections = np.zeros((84, 9))  # a detector of 80 classes
    tiny_onnx.fast_sam(tmp_path / "model.onnx", detections, np.zeros((2, LOW, LOW)), SIDE)
    with pytest.raises(ModelError, match=r"gives \[1, 84, 9\], \[1, 2, 16, 16\], which FastSAM"):
        FastSam(tmp_path, CPU, "fastsam").segment(photo(64, 64), [BOX])


def test_without_the_package_the_command_to_install_it_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"needs onnxruntime.*pip install 'trackd\[onnx\]'"):
        FastSam(tmp_path, CPU, "fastsam")


@pytest.mark.slow
def test_a_command_segments_a_still_with_it(tmp_path: Path, monkeypatch, capsys):
    import json

    monkeypatch.setenv("TRACKD_MODELS_DIR", str(tmp_path / "models"))
    photo_path = tmp_path / "photo.png"
    Image.fromarray(picture(0)).save(photo_path)
    argv = ["segment", str(photo_path), "--box", "3:10,20,30,40", "--segmenter"]
    assert main([*argv, "efficientsam-tiny", "--json"]) == 1
    assert "run `trackd models get efficientsam-tiny`" in capsys.readouterr().err
    tiny_onnx.efficient_sam(tmp_path / "models" / "efficientsam-tiny")
    argv += ["efficientsam-tiny", "--davis", str(tmp_path / "png"), "--coco-frames"]
    assert main([*argv, str(tmp_path / "coco.json"), "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["objects"]
    expected = disc(20, 30, 8, (96, 128))
    ids_hw = np.asarray(Image.open(tmp_path / "png" / "photo.png"))
    assert np.array_equal(ids_hw == 3, expected)
    (annotation,) = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert annotation["area"] == expected.sum() and item["id"] == 3
    assert main(["segment", str(photo_path), "--segmenter", "mobilesam", "--point", "1:5,5"]) == 2
    assert "no output; add --davis DIR" in capsys.readouterr().err
    assert main([*argv[:4], "--segmenter", "mobilesam", "--json"]) == 1
    assert "export mobile_sam.pt with the samexporter package" in capsys.readouterr().err
