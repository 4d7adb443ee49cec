"""Objects of a stream that its finder added: their checks, and their end."""

from collections.abc import Iterable, Mapping

from tracker.daemon.messages import BirthRefusedError, FoundBy
from tracker.engine import Session, mask_box
from tracker.finders.base import Proposal
from tracker.finders.births import Deaths, Refusal, is_same
from tracker.types import ObjectResult, Prompt

#: Longest time between two frames that counts as time without a mask.
MAX_GAP_S = 1.0
_NS = 1e-9


class FoundObjects:
    """Ids of the objects that were found, and when each is to be removed.

    Args:
        expire_after_s: Seconds without a mask after which one is removed; None for never.
    """

    def __init__(self, expire_after_s: float | None) -> None:
        self.ids: set[int] = set()
        self._deaths = Deaths(expire_after_s)
        self._captured_ns: int | None = None
        self._seen_s = 0.0

    def expired(self, objects: Iterable[ObjectResult], captured_ns: int) -> list[int]:
        """Ids of those to remove, by all objects on the newest frame and its time.

        Time without frames, as of a pause or an outage, counts `MAX_GAP_S` at most.
        """
        before_ns = captured_ns if self._captured_ns is None else self._captured_ns
        self._seen_s += min(max(0.0, (captured_ns - before_ns) * _NS), MAX_GAP_S)
        self._captured_ns = captured_ns
        if not self.ids:
            return []
        found = [obj for obj in objects if obj.id in self.ids]
        return self._deaths.expired(found, self._seen_s)

    @property
    def unseen_s(self) -> dict[int, float]:
        """Seconds without a mask of each object that was found."""
        last_s = self._deaths.seen_s
        return {i: self._seen_s - last_s.get(i, self._seen_s) for i in sorted(self.ids)}

    def resume(self, unseen_s: Mapping[int, float], captured_ns: int | None) -> None:
        """Take over what `unseen_s` was after the frame of a time."""
        self.ids = set(unseen_s)
        self._captured_ns = captured_ns
        self._deaths.seen_s = {i: self._seen_s - unseen for i, unseen in unseen_s.items()}


def check_birth(found: FoundBy, prompt: Prompt, session: Session, step: int) -> frozenset[int]:
    """Compare a proposal with the objects that were not known when it was made.

    Args:
        found: Its origin.
        prompt: It.
        session: Has the objects, none of which is behind.
        step: Of its frame.

    Returns:
        Ids of those that have no mask on that frame: `check_newborn` compares them.

    Raises:
        BirthRefusedError: It is one of them, or there are too many.
    """
    if len(session.object_ids) >= found.policy.max_objects:
        raise BirthRefusedError(Refusal.FULL)
    if prompt.mask_hw is None:
        assert prompt.box_xyxy is not None
        box_xyxy = prompt.box_xyxy
    else:
        box_xyxy = mask_box(prompt.mask_hw) or (0, 0, 0, 0)
    proposal = Proposal(box_xyxy, found.score, mask_hw=prompt.mask_hw)
    unseen = set()
    for object_id in set(session.object_ids) - found.known_ids:
        mask_hw = session.mask_on(object_id, step)
        box = mask_box(mask_hw)
        if box is None:
            unseen.add(object_id)
        elif is_same(proposal, Proposal(box, 1.0, mask_hw=mask_hw), found.policy):
            raise BirthRefusedError(Refusal.TRACKED)
    return frozenset(unseen)


def check_newborn(
    found: FoundBy, newborn: ObjectResult, session: Session, unseen: frozenset[int]
) -> None:
    """Compare a new object with others on the newest frame.

    Args:
        found: Its origin.
        newborn: It, on the newest frame.
        session: Has the objects.
        unseen: Those to compare: they had no mask on the frame that it was proposed on.

    Raises:
        BirthRefusedError: It is one of them.
    """
    if newborn.box_xyxy is None or not unseen:
        return
    proposal = Proposal(newborn.box_xyxy, found.score, mask_hw=newborn.mask_hw)
    others = (obj for obj in session.result().objects if obj.id in unseen)
    if any(is_same(proposal, other, found.policy) for other in others):
        raise BirthRefusedError(Refusal.TRACKED)
