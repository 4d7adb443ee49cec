"""SAM and SAM-HQ, against the models and processors of transformers used by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")
import transformers as hf

from tests.support import tiny_transformers as tiny
from tests.support.photo import photo
from tracker.errors import ModelError
from tracker.finders.boxes import mask_iou
from tracker.segmenters.transformers_sam import TransformersSam
from tracker.types import Prompt

CPU = torch.device("cpu")
IMAGE = photo(90, 120)
GIVEN = [
    (Prompt(1, box_xyxy=(20, 30, 60, 70)), {"input_boxes": [[[20, 30, 60, 70]]]}, False),
    (
        Prompt(2, points_xy=((80, 40),), point_labels=(1,)),
        {"input_points": [[[[80, 40]]]], "input_labels": [[[1]]]},
        True,
    ),
    (
        Prompt(3, points_xy=((80, 40), (20, 20)), point_labels=(1, 0)),
        {"input_points": [[[[80, 40], [20, 20]]]], "input_labels": [[[1, 0]]]},
        False,
    ),
    (
        Prompt(4, ((30, 40),), (1,), (20, 30, 60, 70)),
        {
            "input_points": [[[[30, 40]]]],
            "input_labels": [[[1]]],
            "input_boxes": [[[20, 30, 60, 70]]],
        },
        False,
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "names"),
    [(tiny.sam, ("SamModel", "SamProcessor")), (tiny.sam_hq, ("SamHQModel", "SamHQProcessor"))],
    ids=["sam", "sam-hq"],
)
def test_masks_equal_those_of_the_library(tmp_path: Path, build, names):
    folder = tiny.make(build, tmp_path / "model")
    found = TransformersSam(folder, CPU).segment(IMAGE, [prompt for prompt, *_ in GIVEN])
    network, processor = (getattr(hf, name).from_pretrained(folder) for name in names)
    for index, (_, given, several) in enumerate(GIVEN):
        inputs = processor(images=Image.fromarray(IMAGE), return_tensors="pt", **given)
        with torch.no_grad():
            outputs = network.eval()(**inputs, multimask_output=several)
        (masks,) = processor.post_process_masks(
            outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
        )
        best = int(outputs.iou_scores[0, 0].argmax())
        assert mask_iou(found.masks_nhw[index], masks[0, best].numpy()) >= 0.999
        expected = float(outputs.iou_scores[0, 0, best])
        assert found.scores_n[index] == pytest.approx(expected, abs=1e-5)
    assert found.masks_nhw.any()


@pytest.mark.slow
def test_a_picture_is_prepared_and_encoded_once_for_all_prompts(tmp_path: Path, monkeypatch):
    segmenter = TransformersSam(tiny.make(tiny.sam, tmp_path / "sam"), CPU)
    network, processor = segmenter._network, segmenter._processor
    calls = []

    def counted(name, function):
        return lambda *given, **named: (calls.append(name), function(*given, **named))[1]

    encode = counted("encode", network.get_image_embeddings)
    monkeypatch.setattr(network, "get_image_embeddings", encode)
    prepare = counted("prepare", processor.image_processor.preprocess)
    monkeypatch.setattr(processor.image_processor, "preprocess", prepare)
    segmenter.segment(IMAGE, [prompt for prompt, *_ in GIVEN])
    assert sorted(calls) == ["encode", "prepare"]


def test_no_prompt_gives_no_mask_and_one_pixel_is_no_fault(tmp_path: Path):
    segmenter = TransformersSam(tiny.make(tiny.sam, tmp_path / "sam"), CPU)
    assert segmenter.segment(IMAGE, []).masks_nhw.shape == (0, 90, 120)
    prompt = Prompt(1, box_xyxy=(0, 0, 1, 1))
    found = segmenter.segment(np.zeros((1, 1, 3), np.uint8), [prompt])
    assert found.masks_nhw.shape == (1, 1, 1)


def test_a_detector_is_no_segmenter(tmp_path: Path):
    folder = tiny.make(tiny.yolos, tmp_path / "yolos")
    with pytest.raises(ModelError, match=r"cannot be loaded as MaskGeneration|not SAM or SAM-HQ"):
        TransformersSam(folder, CPU)
