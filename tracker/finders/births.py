"""Births and deaths of tracked objects: which proposals become objects, and when objects expire."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tracker.errors import UsageError
from tracker.finders.base import Proposal
from tracker.finders.boxes import box_area, box_intersection
from tracker.types import ObjectResult, ObjectState


@dataclass(frozen=True, slots=True)
class BirthPolicy:
    """Limits on new objects and on lost ones.

    Attributes:
        min_score: Least score of a proposal.
        min_area: Least area of a proposal, as a share of the picture.
        max_overlap: IoU with an object that is tracked, or was born on the same frame, from which
            a proposal is taken for the same object.
        max_cover: Likewise, the share of the smaller of the two that lies in the other: parts of an
            object, and groups that it is part of, are no new objects.
        max_objects: Objects at a time, those that were prompted included.
        expire_after_s: Seconds without a mask after which an object that was found is removed;
            None keeps it for ever.
    """

    min_score: float = 0.0
    min_area: float = 0.0005
    max_overlap: float = 0.3
    max_cover: float = 0.7
    max_objects: int = 16
    expire_after_s: float | None = 5.0

    def __post_init__(self) -> None:
        """Raise `UsageError` where a limit is out of its range."""
        for name in ("min_score", "min_area", "max_overlap", "max_cover"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} {getattr(self, name):g}", "give a number from 0 to 1")
        if self.max_objects < 1:
            raise UsageError(f"max_objects {self.max_objects}", "give 1 or more")
        if self.expire_after_s is not None and not self.expire_after_s > 0:
            raise UsageError(f"expire_after_s {self.expire_after_s:g}", "give more than 0")


class Refusal(StrEnum):
    """Reason for which a proposal becomes no object."""

    LOW_SCORE = "low score"
    SMALL = "small"
    TRACKED = "tracked already"
    FULL = "too many objects"
    NO_MASK = "no mask"
    NO_ID = "no id left"
    FRAME_GONE = "frame gone"
    NOT_TAKEN = "not taken"


class Births:
    """Chooses the proposals that become objects.

    Attributes:
        policy: The limits.
        refused: Proposals that became no objects, by the reason; what is refused where the object
            would be made is its owner's to count.
    """

    def __init__(self, policy: BirthPolicy) -> None:
        """Begin with no object."""
        self.policy = policy
        self.refused: Counter[Refusal] = Counter()

    def chosen(
        self,
        proposals: Sequence[Proposal],
        tracked: Sequence[ObjectResult],
        picture_px: int,
    ) -> list[Proposal]:
        """The proposals of one picture that are new objects, best first.

        Args:
            proposals: Checked ones.
            tracked: All objects on the picture.
            picture_px: Pixels of the picture.
        """
        born: list[Proposal] = []
        for proposal in sorted(proposals, key=lambda p: -p.score):
            refusal = refusal_of(proposal, tracked, born, picture_px, self.policy)
            if refusal is None:
                born.append(proposal)
            else:
                self.refused[refusal] += 1
        return born


def refusal_of(
    proposal: Proposal,
    tracked: Sequence[ObjectResult],
    born: Sequence[Proposal],
    picture_px: int,
    policy: BirthPolicy,
) -> Refusal | None:
    """Reason for which a proposal is no new object; None if it is one.

    Args:
        proposal: A checked one.
        tracked: All objects on the picture.
        born: New objects on it, of better scores.
        picture_px: Pixels of the picture.
        policy: The limits.
    """
    others: list[ObjectResult | Proposal] = [*tracked, *born]
    if proposal.score < policy.min_score:
        return Refusal.LOW_SCORE
    if proposal.area_px < policy.min_area * picture_px:
        return Refusal.SMALL
    if any(is_same(proposal, other, policy) for other in others):
        return Refusal.TRACKED
    if len(others) >= policy.max_objects:
        return Refusal.FULL
    return None


class Deaths:
    """Chooses the objects that expire.

    It counts time by what it is told, so that a file gives the same objects on every run.

    Attributes:
        seen_s: When each object had a mask last.
    """

    def __init__(self, expire_after_s: float | None) -> None:
        """Let objects expire so long after their last mask; None for never."""
        self._expire_after_s = expire_after_s
        self.seen_s: dict[int, float] = {}

    def expired(self, tracked: Sequence[ObjectResult], time_s: float) -> list[int]:
        """Ids of the objects that have had no mask for too long, by the clock of the video.

        Args:
            tracked: Those that were found, on the newest frame.
            time_s: Its time.
        """
        gone: list[int] = []
        for item in tracked:
            if _is_there(item) or item.id not in self.seen_s:
                self.seen_s[item.id] = time_s
            limit_s = self._expire_after_s
            if limit_s is not None and time_s - self.seen_s[item.id] >= limit_s:
                gone.append(item.id)
        kept = {item.id for item in tracked} - set(gone)
        self.seen_s = {i: seen_s for i, seen_s in self.seen_s.items() if i in kept}
        return gone


def is_same(proposal: Proposal, other: ObjectResult | Proposal, policy: BirthPolicy) -> bool:
    """True if a proposal overlaps another, or an object, so much that both are of one thing."""
    iou, cover = _overlap(proposal, other)
    return iou >= policy.max_overlap or cover >= policy.max_cover


def _is_there(item: ObjectResult) -> bool:
    """True if an object has a mask, or would have one were it its turn."""
    if item.fresh:
        return item.box_xyxy is not None
    return item.state in (ObjectState.VISIBLE, ObjectState.REACQUIRED)


def _overlap(proposal: Proposal, other: ObjectResult | Proposal) -> tuple[float, float]:
    """IoU, and share of the smaller that lies in the other: of masks if both have one, or boxes."""
    if other.box_xyxy is None:
        return 0.0, 0.0
    inside = box_area(box_intersection(proposal.box_xyxy, other.box_xyxy))
    first, second = box_area(proposal.box_xyxy), box_area(other.box_xyxy)
    if inside and proposal.mask_hw is not None and other.mask_hw is not None:
        inside = float(np.count_nonzero(proposal.mask_hw & other.mask_hw))
        first, second = proposal.area_px, float(np.count_nonzero(other.mask_hw))
    if not inside:
        return 0.0, 0.0
    return inside / (first + second - inside), inside / min(first, second)
