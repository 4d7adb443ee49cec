"""Lasting memories of frames that show an object beside its distractors.

An idea of DAM4SAM (Videnovic et al., 2025): a tracker confuses an object with its like when its
memory holds too few frames that show both. Where the mask decoder hesitates between masks of
different extent, a distractor is in view; if the mask is good and steady all the same, the frame is
worth remembering for long.
"""

from collections.abc import Sequence
from statistics import median

from tracker.engine.memory_policy.all import AllFrames
from tracker.engine.memory_policy.base import ObjectPast
from tracker.models.base import Decoded

MIN_GAP = 5  # steps from one lasting memory to the next, at least
MIN_IOU = 0.5  # predicted quality of its mask, at least
AREA_CHANGE = 0.2  # of the median area of late, at most


class DistractorAware(AllFrames):
    """Every frame is remembered, and for long a few with a distractor in view."""

    name = "distractors"
    distractor_memories = 2

    def lasts(self, decoded: Decoded, pasts: Sequence[ObjectPast]) -> list[bool]:
        """Those with a distractor and a good mask of steady area, some steps apart."""
        assert decoded.distractor_n is not None
        contested = (decoded.distractor_n & (decoded.iou_n >= MIN_IOU)).tolist()
        return [
            contests and is_steady(area, past.areas) and past.lasting_age >= MIN_GAP
            for contests, area, past in zip(contested, decoded.areas(), pasts, strict=True)
        ]


def is_steady(area: int, before: Sequence[int]) -> bool:
    """True if an area is about that of the frames before; never if there are none."""
    usual = median(before) if before else 0
    return area > 0 and abs(area - usual) <= AREA_CHANGE * usual
