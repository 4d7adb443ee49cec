"""From decoded masks to what a session publishes."""

import numpy as np
import torch

from tracker.engine.masks import mask_box, source_masks
from tracker.engine.objects import TrackedObject
from tracker.engine.refine import GuidedFilter
from tracker.engine.visibility import SHOWN
from tracker.models.base import Decoded
from tracker.types import ObjectResult


def publish(
    objects: list[TrackedObject],
    step: int,
    height: int,
    width: int,
    guide: GuidedFilter | None,
    *,
    batch: int,
) -> None:
    """Fill in the missing results of objects on the frame of a step, `height` x `width` pixels.

    An object that is not shown, or was not tracked on this frame, has an empty mask: none is ever
    carried over. Masks are upsampled `batch` at a time; they follow the edges of a guide, if given.
    """
    shown: list[TrackedObject] = []
    hidden: list[TrackedObject] = []
    for obj in objects:
        if obj.result is None:
            is_shown = obj.is_fresh(step) and obj.presence.state in SHOWN
            (shown if is_shown else hidden).append(obj)
    for obj in hidden:
        nothing_hw = np.zeros((height, width), np.bool_)
        score, iou = _scores(obj.outputs[-1].decoded) if obj.outputs else (0.0, 0.0)
        state, fresh = obj.presence.state, obj.is_fresh(step)
        obj.result = ObjectResult(obj.id, obj.label, state, score, iou, None, nothing_hw, fresh)
    for start in range(0, len(shown), batch):
        part = shown[start : start + batch]
        logits_n1ss = torch.cat([obj.outputs[-1].decoded.logits_n1ss for obj in part])
        if guide is not None:
            logits_n1ss = guide.follow(logits_n1ss)
        for obj, mask_hw in zip(part, source_masks(logits_n1ss, height, width), strict=True):
            score, iou = _scores(obj.outputs[-1].decoded)
            obj.result = ObjectResult(
                obj.id,
                obj.label,
                obj.presence.state,
                score,
                iou,
                mask_box(mask_hw),
                mask_hw,
                identity=obj.identity,
            )


def _scores(decoded: Decoded) -> tuple[float, float]:
    """Object score and predicted quality, 0..1 each."""
    score = decoded.presence_n1.sigmoid().item()
    return score, min(1.0, max(0.0, decoded.iou_n.item()))
