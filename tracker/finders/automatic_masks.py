"""Automatic mask generation of SAM (Kirillov et al., 2023) with the mask decoder of a video model.

Follows `sam2.automatic_mask_generator.SAM2AutomaticMaskGenerator`, whose helpers it uses: a grid of
points over the picture and over crops of it, three masks of each point, filters by predicted IoU
and stability, non-maximum suppression. What differs: masks are filtered before they are upsampled,
points are drawn for networks that were trained to be shown them, and small regions are removed,
which the present sam2 package leaves undone.

Shapes: n points, k masks, s the side of a low-resolution mask.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sam2.utils.amg import (
    batched_mask_to_box,
    build_all_layer_point_grids,
    calculate_stability_score,
    generate_crop_boxes,
    is_box_near_crop_edge,
    remove_small_regions,
)
from torch import Tensor
from torchvision.ops import nms

from tracker.engine import (
    COARSE_SIDE,
    GuidedFilter,
    encode,
    inference,
    mask_box,
    rasterize_prompts,
    source_masks,
)
from tracker.errors import FinderError
from tracker.finders.settings import AutomaticMaskSettings
from tracker.models import Model
from tracker.models.base import CandidateModel, Clicks, Features
from tracker.models.preprocess import resize_to_square

_MASKS_UPSAMPLED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class AutomaticMask:
    """One mask of a picture.

    Attributes:
        mask_hw: bool [H, W].
        box_xyxy: Edges of its box in pixels, the last column and row included, as sam2 counts.
        predicted_iou: The decoder's estimate of its quality.
        stability: IoU of the masks at thresholds raised and lowered by the offset.
    """

    mask_hw: NDArray[np.bool_]
    box_xyxy: tuple[int, int, int, int]
    predicted_iou: float
    stability: float


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Masks of one crop: logits [k, s, s], predicted IoU [k], stability [k], boxes [k, 4]."""

    logits_kss: Tensor
    iou_k: Tensor
    stability_k: Tensor
    boxes_k4: Tensor

    def at(self, index: Tensor) -> "_Candidates":
        return _Candidates(
            self.logits_kss[index], self.iou_k[index], self.stability_k[index], self.boxes_k4[index]
        )

    @classmethod
    def cat(cls, parts: "Sequence[_Candidates]") -> "_Candidates":
        return cls(
            torch.cat([part.logits_kss for part in parts]),
            torch.cat([part.iou_k for part in parts]),
            torch.cat([part.stability_k for part in parts]),
            torch.cat([part.boxes_k4 for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class _Crop:
    """A part of the picture with its grid of points [n, 2], 0..1, and its encoding."""

    box_xyxy: tuple[int, int, int, int]
    points_n2: NDArray[np.float64]
    small_hwc: NDArray[np.uint8]
    features: Features

    @property
    def size_hw(self) -> tuple[int, int]:
        x0, y0, x1, y1 = self.box_xyxy
        return y1 - y0, x1 - x0


class AutomaticMasks:
    """Generates the masks of a picture."""

    def __init__(self, model: Model, settings: AutomaticMaskSettings) -> None:
        """Prepare the grids.

        Raises:
            FinderError: The model gives no candidates.
        """
        if not isinstance(model.network, CandidateModel):
            raise FinderError(
                f"{model.name} gives no candidate masks", "use pico or a SAM 2 model with --model"
            )
        self._model, self._network = model, model.network
        self._settings = settings
        self._draws = model.network.capabilities.draws_prompts
        self._grids: list[NDArray[np.float64]] = build_all_layer_point_grids(
            settings.points_per_side,
            settings.crop_n_layers,
            settings.crop_n_points_downscale_factor,
        )

    def generate(self, image_hwc: NDArray[np.uint8]) -> list[AutomaticMask]:
        """Masks of an RGB picture [H, W, 3], those of larger predicted IoU first."""
        found: list[tuple[_Crop, _Candidates]] = []
        with inference(self._model):
            for crop in self._crops(image_hwc):
                found.append((crop, self._candidates(crop, image_hwc.shape[:2])))
            masks = self._masks(_kept(found, self._settings.crop_nms_thresh), image_hwc.shape[:2])
        if self._settings.min_mask_region_area:
            thresh = max(self._settings.box_nms_thresh, self._settings.crop_nms_thresh)
            masks = without_small_regions(masks, self._settings.min_mask_region_area, thresh)
        return sorted(masks, key=lambda mask: -mask.predicted_iou)

    def _crops(self, image_hwc: NDArray[np.uint8]) -> Iterator[_Crop]:
        settings, size_hw = self._settings, image_hwc.shape[:2]
        boxes, layers = generate_crop_boxes(
            size_hw, settings.crop_n_layers, settings.crop_overlap_ratio
        )
        for (x0, y0, x1, y1), layer in zip(boxes, layers, strict=True):
            part_hwc = np.ascontiguousarray(image_hwc[y0:y1, x0:x1])
            if part_hwc.size == 0:  # a picture of few pixels
                continue
            small_hwc = resize_to_square(part_hwc, self._model.input)
            features = encode(self._model, small_hwc)
            yield _Crop((x0, y0, x1, y1), self._grids[layer], small_hwc, features)

    def _candidates(self, crop: _Crop, picture_hw: tuple[int, ...]) -> _Candidates:
        """Filtered masks of a crop without duplicates, boxes in pixels of the picture."""
        batch = self._settings.points_per_batch
        parts = [
            self._filtered(crop, *self._decode(crop, start, start + batch), picture_hw)
            for start in range(0, len(crop.points_n2), batch)
        ]
        found = _Candidates.cat(parts)
        kept = nms(found.boxes_k4.float(), found.iou_k, self._settings.box_nms_thresh)
        found = found.at(kept)
        x0, y0, *_ = crop.box_xyxy
        return _Candidates(
            found.logits_kss,
            found.iou_k,
            found.stability_k,
            found.boxes_k4 + found.boxes_k4.new_tensor([x0, y0, x0, y0]),
        )

    def _decode(self, crop: _Crop, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Masks of some of the points: logits [3n, s, s] and predicted IoU [3n]."""
        model, size = self._model, self._model.input.size
        height, width = crop.size_hw
        points_n2 = torch.as_tensor(
            crop.points_n2[start:stop] * [width, height], dtype=torch.float32, device=model.device
        )
        coords_n12 = (points_n2 / points_n2.new_tensor([width, height]) * size)[:, None]
        labels_n1 = torch.ones(len(points_n2), 1, dtype=torch.int32, device=model.device)
        clicks = Clicks(coords_n12, labels_n1)
        drawn = None
        if self._draws:
            drawn = rasterize_prompts(clicks, None, size=size, side=model.network.mask_side)
        conditioned_1chw = model.network.condition(crop.features, [])
        candidates = self._network.decode_candidates(
            crop.features,
            conditioned_1chw.expand(len(points_n2), -1, -1, -1),
            first=True,
            clicks=clicks,
            previous_n1ss=drawn,
            shows_masks=True,
        )
        return candidates.logits_nass.flatten(0, 1).float(), candidates.iou_na.flatten().float()

    def _filtered(
        self, crop: _Crop, logits_kss: Tensor, iou_k: Tensor, picture_hw: tuple[int, ...]
    ) -> _Candidates:
        """Those of good quality, stable, and not cut off by an edge that is the crop's alone."""
        settings = self._settings
        if settings.pred_iou_thresh > 0:
            good_k = iou_k > settings.pred_iou_thresh
            logits_kss, iou_k = logits_kss[good_k], iou_k[good_k]
        stability, boxes = [iou_k[:0]], [torch.zeros(0, 4, dtype=torch.long, device=iou_k.device)]
        for part_kss in torch.split(logits_kss, _MASKS_UPSAMPLED_AT_ONCE):
            logits_khw = F.interpolate(
                part_kss[:, None], crop.size_hw, mode="bilinear", align_corners=False
            )[:, 0]
            offset = settings.stability_score_offset
            stability.append(calculate_stability_score(logits_khw, 0.0, offset))
            boxes.append(batched_mask_to_box(logits_khw > 0))
        found = _Candidates(logits_kss, iou_k, torch.cat(stability), torch.cat(boxes))
        height, width = picture_hw
        kept_k = ~is_box_near_crop_edge(found.boxes_k4, list(crop.box_xyxy), [0, 0, width, height])
        if settings.stability_score_thresh > 0:
            kept_k &= found.stability_k >= settings.stability_score_thresh
        return found.at(kept_k)

    def _masks(
        self, found: list[tuple[_Crop, _Candidates]], picture_hw: tuple[int, ...]
    ) -> list[AutomaticMask]:
        masks = []
        for crop, kept in found:
            x0, y0, x1, y1 = crop.box_xyxy
            for i, part_hw in enumerate(self._upsampled(crop, kept.logits_kss)):
                mask_hw = np.zeros(picture_hw, np.bool_)
                mask_hw[y0:y1, x0:x1] = part_hw
                box = tuple(kept.boxes_k4[i].tolist())
                iou, stability = kept.iou_k[i].item(), kept.stability_k[i].item()
                masks.append(AutomaticMask(mask_hw, box, iou, stability))
        return masks

    def _upsampled(self, crop: _Crop, logits_kss: Tensor) -> Iterator[NDArray[np.bool_]]:
        """Masks [H, W] at the crop's resolution; coarse ones follow the edges of the picture."""
        if not len(logits_kss):
            return
        guide, side = None, self._model.network.mask_side
        if self._settings.follow_edges and side <= COARSE_SIDE:
            guide = GuidedFilter(crop.small_hwc, side)
        for part_kss in torch.split(logits_kss, _MASKS_UPSAMPLED_AT_ONCE):
            logits_k1ss = part_kss[:, None]
            if guide is not None:
                logits_k1ss = guide.follow(logits_k1ss)
            yield from source_masks(logits_k1ss, *crop.size_hw)


def _kept(found: list[tuple[_Crop, _Candidates]], thresh: float) -> list[tuple[_Crop, _Candidates]]:
    """Candidates without duplicates between crops; those of smaller crops stay."""
    if len(found) < 2:
        return found
    boxes_k4 = torch.cat([candidates.boxes_k4 for _, candidates in found]).float()
    areas = [float(np.prod(crop.size_hw)) for crop, _ in found]
    counts = [len(candidates.iou_k) for _, candidates in found]
    score_k = torch.repeat_interleave(1 / torch.tensor(areas), torch.tensor(counts))
    keep = torch.zeros(len(boxes_k4), dtype=torch.bool, device=boxes_k4.device)
    keep[nms(boxes_k4, score_k.to(boxes_k4.device), thresh)] = True
    parts = torch.split(keep, counts)
    return [
        (crop, candidates.at(part)) for (crop, candidates), part in zip(found, parts, strict=True)
    ]


def without_small_regions(
    masks: list[AutomaticMask], min_area: int, nms_thresh: float
) -> list[AutomaticMask]:
    """Masks whose holes and islands of less than `min_area` pixels are gone, as SAM's own.

    Follows `SAM2AutomaticMaskGenerator.postprocess_small_regions`: where two are then duplicates,
    the one that did not change stays.
    """
    cleaned: list[AutomaticMask] = []
    score = []
    for mask in masks:
        filled_hw, filled = remove_small_regions(mask.mask_hw, min_area, mode="holes")
        mask_hw, cut = remove_small_regions(filled_hw, min_area, mode="islands")
        box = mask_box(mask_hw)
        if box is None:
            continue
        last = (box[0], box[1], box[2] - 1, box[3] - 1)
        cleaned.append(AutomaticMask(mask_hw, last, mask.predicted_iou, mask.stability))
        score.append(float(not (filled or cut)))
    if not cleaned:
        return []
    boxes_k4 = torch.tensor([mask.box_xyxy for mask in cleaned], dtype=torch.float32)
    return [cleaned[i] for i in nms(boxes_k4, torch.tensor(score), nms_thresh).tolist()]
