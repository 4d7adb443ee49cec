"""From decoded masks to what a session publishes."""

import numpy as np
import torch
from torch import Tensor

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
    scores = _scores([*hidden, *shown])
    for obj in hidden:
        nothing_hw = np.zeros((height, width), np.bool_)
        score, iou = scores[obj.id]
        state, fresh = obj.presence.state, obj.is_fresh(step)
        obj.result = ObjectResult(obj.id, obj.label, state, score, iou, None, nothing_hw, fresh)
    for start in range(0, len(shown), batch):
        part = shown[start : start + batch]
        logits_n1ss = torch.cat([obj.outputs[-1].decoded.logits_n1ss for obj in part])
        if guide is not None:
            logits_n1ss = guide.follow(logits_n1ss)
        for obj, mask_hw in zip(part, source_masks(logits_n1ss, height, width), strict=True):
            score, iou = scores[obj.id]
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


def _scores(objects: list[TrackedObject]) -> dict[int, tuple[float, float]]:
    """Object score and predicted quality by id, 0..1 each; those of all objects in one transfer."""
    known = [obj for obj in objects if obj.outputs]
    scores = {obj.id: (0.0, 0.0) for obj in objects}
    if known:
        found = torch.cat(
            [part for obj in known for part in _raw(obj.outputs[-1].decoded)]
        ).tolist()
        for obj, score, iou in zip(known, found[::2], found[1::2], strict=True):
            scores[obj.id] = score, min(1.0, max(0.0, iou))
    return scores


def _raw(decoded: Decoded) -> tuple[Tensor, Tensor]:
    return decoded.presence_n1.sigmoid()[0], decoded.iou_n
