"""A picture with proposals drawn on it, by supervision's annotators."""

from collections.abc import Sequence

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from tracker.finders.base import Proposal

_MASK_OPACITY = 0.45


def draw_proposals(
    image_hwc: NDArray[np.uint8], proposals: Sequence[Proposal]
) -> NDArray[np.uint8]:
    """A copy of an RGB picture [H, W, 3] with masks or boxes, each with its number and score."""
    scene = image_hwc.copy()
    numbers = np.arange(len(proposals))
    masked = [i for i, item in enumerate(proposals) if item.mask_hw is not None]
    if masked:
        masks_nhw = np.stack([_mask(proposals[i]) for i in masked])
        detections = _detections([proposals[i] for i in masked], masks_nhw)
        sv.MaskAnnotator(opacity=_MASK_OPACITY).annotate(scene, detections, numbers[masked])
    boxed = [i for i, item in enumerate(proposals) if item.mask_hw is None]
    if boxed:
        detections = _detections([proposals[i] for i in boxed], None)
        sv.BoxAnnotator().annotate(scene, detections, numbers[boxed])
    if proposals:
        names = [_name(i + 1, item) for i, item in enumerate(proposals)]
        scale = max(0.3, sv.calculate_optimal_text_scale(image_hwc.shape[1::-1]) * 0.6)
        labels = sv.LabelAnnotator(text_scale=scale, text_padding=3, smart_position=True)
        labels.annotate(scene, _detections(proposals, None), names, numbers)
    return scene


def _mask(proposal: Proposal) -> NDArray[np.bool_]:
    assert proposal.mask_hw is not None
    return proposal.mask_hw


def _detections(
    proposals: Sequence[Proposal], masks_nhw: NDArray[np.bool_] | None
) -> sv.Detections:
    boxes_n4 = np.array([item.box_xyxy for item in proposals], np.float32)
    return sv.Detections(xyxy=boxes_n4, mask=masks_nhw)


def _name(number: int, proposal: Proposal) -> str:
    label = f" {proposal.label}" if proposal.label else ""
    return f"{number}{label} {proposal.score:.2f}"
