"""Scores of a tracked clip: found again or not, given to something else or not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.bench.refind.clips import FPS, SEEN, Clip

FOUND_IOU = 0.5
ON_OBJECT = 0.1  # share of a mask on the object, below which it is on something else
WRONG_FRAMES = 3  # frames on something else that make a clip a wrong one
BACK_SHARE = 0.5  # of the returned object's pixels in view: it is back
LAST_FRAMES = 5  # of a crossing, in which the mask is on one or the other


@dataclass(frozen=True, slots=True)
class Seen:
    """What a session published of the object on a frame."""

    mask_hw: NDArray[np.bool_]
    identity: float | None


@dataclass(frozen=True, slots=True)
class Score:
    """Score of a clip.

    Attributes:
        found_frames: From the frame on which the object is back to the first with its mask; None
            where it never had one, or never left.
        held: Whether the mask was on the object when it began to leave; True where it does not.
        wrong: Whether something else had its mask for `WRONG_FRAMES` or more, or at the end.
        identities: `identity` of each frame with a mask, and whether that was on something else.
    """

    group: str
    name: str
    found_frames: int | None
    held: bool
    wrong: bool
    mean_iou: float
    identities: tuple[tuple[float, bool], ...]

    @property
    def found_in_time(self) -> bool:
        """True if it was found again within a second."""
        return self.found_frames is not None and self.found_frames <= FPS


def score(clip: Clip, seen: Sequence[Seen]) -> Score:
    """Compare what was published of a clip with its truth."""
    masks_hw = [one.mask_hw for one in seen]
    off = [_is_off(mask, truth) for mask, truth in zip(masks_hw, clip.truths_hw, strict=True)]
    ious = [iou(mask, truth) for mask, truth in zip(masks_hw, clip.truths_hw, strict=True)]
    if clip.group == "crossing":
        wrong, found, held = sum(off[-LAST_FRAMES:]) > LAST_FRAMES // 2, None, True
    else:
        wrong, found = sum(off) >= WRONG_FRAMES, _found_frames(clip, ious)
        held = ious[SEEN - 1] > FOUND_IOU
    identities = tuple(
        (one.identity, is_off)
        for one, is_off in zip(seen[1:], off[1:], strict=True)
        if one.identity is not None and one.mask_hw.any()
    )
    mean_iou = float(np.mean(ious))
    return Score(clip.group, clip.name, found, held, wrong, mean_iou, identities)


def _is_off(mask_hw: NDArray[np.bool_], truth_hw: NDArray[np.bool_]) -> bool:
    """True if a mask is there and hardly any of it is on the object."""
    pixels = np.count_nonzero(mask_hw)
    return bool(pixels and np.count_nonzero(mask_hw & truth_hw) < ON_OBJECT * pixels)


def _found_frames(clip: Clip, ious: Sequence[float]) -> int | None:
    areas = [np.count_nonzero(truth_hw) for truth_hw in clip.truths_hw]
    back = clip.returns + int(
        np.argmax(np.array(areas[clip.returns :]) >= BACK_SHARE * max(areas[clip.returns :]))
    )
    found = (t - back for t in range(back, len(ious)) if ious[t] > FOUND_IOU)
    return next(found, None)


def iou(a_hw: NDArray[np.bool_], b_hw: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = np.count_nonzero(a_hw | b_hw)
    return np.count_nonzero(a_hw & b_hw) / union if union else 1.0


def auc(identities: Sequence[tuple[float, bool]]) -> float | None:
    """Area under the ROC curve of a low identity as a sign of a mask on something else."""
    wrong = np.array([identity for identity, is_off in identities if is_off])
    right = np.array([identity for identity, is_off in identities if not is_off])
    if not len(wrong) or not len(right):
        return None
    lower = (wrong[:, None] < right).mean() + 0.5 * (wrong[:, None] == right).mean()
    return float(lower)
