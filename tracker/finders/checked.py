"""Checks of what a finder returns; nothing that it says is believed before."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tracker.errors import FinderError
from tracker.finders.base import BoxXyxy, Proposal

MAX_PROPOSALS = 1000
MAX_LABEL_CHARS = 100


@dataclass(frozen=True, slots=True)
class Checked:
    """Proposals that can be used, best first.

    Attributes:
        proposals: At most `MAX_PROPOSALS`, boxes cut to the picture.
        invalid: Proposals left out as nonsense: a box beside the picture or upside down, a number
            that is none, a mask of another size, type or without a pixel.
        surplus: Proposals left out as too many.
    """

    proposals: tuple[Proposal, ...]
    invalid: int
    surplus: int


def check_proposals(found: object, height: int, width: int, *, finder: str) -> Checked:
    """What is usable of a finder's answer on a picture of `height` x `width` pixels.

    Raises:
        FinderError: The answer is no sequence.
    """
    if not isinstance(found, Sequence) or isinstance(found, str | bytes):
        raise FinderError(
            f"finder {finder} returned {type(found).__name__}, not a sequence of proposals"
        )
    fitting = [_fitted(item, height, width) for item in found]
    valid = sorted((item for item in fitting if item is not None), key=lambda p: -p.score)
    return Checked(
        proposals=tuple(valid[:MAX_PROPOSALS]),
        invalid=len(fitting) - len(valid),
        surplus=max(0, len(valid) - MAX_PROPOSALS),
    )


def _fitted(item: object, height: int, width: int) -> Proposal | None:
    """The proposal with its box cut to the picture; None where it is nonsense."""
    if not isinstance(item, Proposal):
        return None
    try:
        box_xyxy = _cut(item.box_xyxy, height, width)
        score = float(item.score)
    except (TypeError, ValueError, OverflowError):
        return None
    mask_hw = item.mask_hw
    if mask_hw is not None and not _is_mask(mask_hw, height, width):
        return None
    if box_xyxy is None or not 0 <= score <= 1 or not _is_label(item.label):
        return None
    return replace(item, box_xyxy=box_xyxy, score=score)


def _cut(box_xyxy: BoxXyxy, height: int, width: int) -> BoxXyxy | None:
    x0, y0, x1, y1 = map(float, box_xyxy)
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        return None
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _is_mask(mask_hw: object, height: int, width: int) -> bool:
    return (
        isinstance(mask_hw, np.ndarray)
        and mask_hw.dtype == np.bool_
        and mask_hw.shape == (height, width)
        and bool(mask_hw.any())
    )


def _is_label(label: object) -> bool:
    return label is None or (isinstance(label, str) and 0 < len(label) <= MAX_LABEL_CHARS)
