"""Automatic masks, against the generator of the sam2 package on the same weights."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.utils.amg import MaskData, mask_to_rle_pytorch, rle_to_mask

from tests.support.moving_scene import frame, square
from tests.support.photo import photo
from tests.support.random_sam2 import random_sam2
from tests.support.small_pico import small_pico
from tracker.errors import FinderError
from tracker.finders.automatic_masks import AutomaticMask, AutomaticMasks, without_small_regions
from tracker.finders.boxes import mask_iou
from tracker.finders.everything import EverythingFinder, fitted_settings
from tracker.finders.settings import AutomaticMaskSettings
from tracker.models import Model, load_model
from tracker.models.preprocess import image_tensor, resize_to_square


def theirs(model: Model, image_hwc: NDArray[np.uint8], **settings: float) -> list[dict]:
    """The masks of sam2's own generator, on pictures resized as ours are."""
    network = model.network.module
    generator = SAM2AutomaticMaskGenerator(network, **settings)
    side = model.input.size
    generator.predictor._bb_feat_sizes = [(side // 4,) * 2, (side // 8,) * 2, (side // 16,) * 2]
    transforms = generator.predictor._transforms

    class SameResize(type(transforms)):
        def __call__(self, picture_hwc: NDArray[np.uint8]) -> torch.Tensor:
            small_hwc = resize_to_square(np.ascontiguousarray(picture_hwc), model.input)
            return image_tensor(small_hwc, model.input)[0]

    transforms.__class__ = SameResize
    found = generator.generate(image_hwc)
    return sorted(found, key=lambda item: -item["predicted_iou"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((128, 128), {"points_per_side": 4, "box_nms_thresh": 1.0}),
        ((90, 150), {"points_per_side": 5, "points_per_batch": 7, "pred_iou_thresh": 0.4}),
        (
            (120, 160),
            {
                "points_per_side": 4,
                "crop_n_layers": 1,
                "crop_n_points_downscale_factor": 2,
                "box_nms_thresh": 1.0,
                "crop_nms_thresh": 1.0,
            },
        ),
    ],
    ids=["grid", "suppression", "crops"],
)
def test_masks_equal_those_of_the_sam2_package(size, settings):
    model, image_hwc = random_sam2(), photo(*size)
    settings = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.2} | settings
    settings |= {"stability_score_offset": 0.05}
    plain = AutomaticMaskSettings(**settings, follow_edges=False)
    ours = AutomaticMasks(model, plain).generate(image_hwc)
    expected = theirs(model, image_hwc, **settings)
    assert len(ours) == len(expected) > 0
    for mask, item in zip(ours, expected, strict=True):
        x, y, width, height = item["bbox"]
        assert mask.box_xyxy == (x, y, x + width, y + height)
        assert mask.predicted_iou == pytest.approx(item["predicted_iou"], abs=1e-5)
        assert mask.stability == pytest.approx(item["stability_score"], abs=1e-3)
        assert mask_iou(mask.mask_hw, item["segmentation"]) >= 0.999
        assert abs(int(mask.mask_hw.sum()) - item["area"]) <= 0.001 * item["area"] + 1


def test_small_regions_go_as_in_sam():
    rng = np.random.default_rng(1)
    masks_nhw = rng.random((5, 40, 50)) > 0.97
    masks_nhw[:, 5:25, 5:30] = True
    masks_nhw[1:3, 10:13, 10:13] = False
    masks_nhw[3:] = np.roll(masks_nhw[3:], 12, axis=2)
    boxes = [(0, 0, 49, 39)] * 5
    ours = without_small_regions(
        [AutomaticMask(m, b, 0.9, 0.9) for m, b in zip(masks_nhw, boxes, strict=True)], 30, 0.7
    )
    data = MaskData(
        rles=mask_to_rle_pytorch(torch.from_numpy(masks_nhw)), boxes=torch.tensor(boxes)
    )
    expected = SAM2AutomaticMaskGenerator.postprocess_small_regions(data, 30, 0.7)
    assert len(ours) == len(expected["rles"]) == 3
    for mask, rle, box in zip(ours, expected["rles"], expected["boxes"], strict=True):
        assert np.array_equal(mask.mask_hw, rle_to_mask(rle))
        assert list(mask.box_xyxy) == box.tolist()


@pytest.mark.slow
def test_pico_finds_the_square_among_its_proposals():
    finder = EverythingFinder(load_model("pico", device="cpu"), AutomaticMaskSettings())
    found = finder.find(frame(), ())
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)
    assert max(mask_iou(item.mask_hw, square()) for item in found) > 0.75
    best = max(found, key=lambda item: mask_iou(item.mask_hw, square()))
    rows, columns = np.flatnonzero(best.mask_hw.any(1)), np.flatnonzero(best.mask_hw.any(0))
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert best.box_xyxy == edges
    assert 0 <= best.stability <= 1


def test_defaults_of_a_model_give_way_to_what_was_asked_for():
    given = AutomaticMaskSettings(pred_iou_thresh=0.8)
    assert fitted_settings("pico", given).pred_iou_thresh == 0.8
    assert fitted_settings("pico", given).points_per_side == 16
    assert fitted_settings("sam2.1-large", given) == given


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2)])
def test_pictures_of_few_pixels_are_no_fault(size):
    settings = AutomaticMaskSettings(
        points_per_side=2, crop_n_layers=2, pred_iou_thresh=0, stability_score_thresh=0
    )
    masks = AutomaticMasks(small_pico(), settings).generate(np.full((*size, 3), 9, np.uint8))
    assert masks
    assert all(mask.mask_hw.shape == size for mask in masks)


@pytest.mark.slow
def test_masks_are_upsampled_in_pieces(monkeypatch: pytest.MonkeyPatch):
    from tracker.finders import automatic_masks

    counts = []

    def counted(logits_n1ss, height, width):
        counts.append(len(logits_n1ss))
        return source_masks(logits_n1ss, height, width)

    source_masks = automatic_masks.source_masks
    settings = AutomaticMaskSettings(
        points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1.0
    )
    model, image_hwc = small_pico(), photo(90, 150)
    whole = AutomaticMasks(model, settings).generate(image_hwc)
    monkeypatch.setattr(automatic_masks, "source_masks", counted)
    monkeypatch.setattr(automatic_masks, "_MASKS_UPSAMPLED_AT_ONCE", 3)
    pieces = AutomaticMasks(model, settings).generate(image_hwc)
    assert sum(counts) == len(pieces) == len(whole) > 3
    assert max(counts) == 3
    for one, other in zip(pieces, whole, strict=True):
        assert np.array_equal(one.mask_hw, other.mask_hw)
    counts.clear()
    none_good = settings.model_copy(update={"pred_iou_thresh": 0.9999})
    assert AutomaticMasks(model, none_good).generate(image_hwc) == []
    assert counts == []


def test_a_model_without_candidates_is_one_clear_error():
    from types import SimpleNamespace

    with pytest.raises(FinderError, match="colour gives no candidate masks; use pico"):
        EverythingFinder(SimpleNamespace(name="colour", network=None), AutomaticMaskSettings())
