"""State machine of visibility with hysteresis: visible, occluded, lost, reacquired."""

from dataclasses import dataclass

from tracker.engine.policy import Policy
from tracker.types import ObjectState

SHOWN = (ObjectState.VISIBLE, ObjectState.REACQUIRED)


@dataclass(slots=True)
class Presence:
    """One object's state over time.

    The network's object score says on each frame whether the object is there. It leaves at once
    (an absent object has no mask), and comes back only with a score of `appear_score`, so that a
    doubtful score does not flicker. An object absent for `lost_after` frames is lost; coming back
    from there it is reacquired for `settle_frames` frames, then visible.

    Attributes:
        state: On the newest frame.
        absent: Frames since it was last there, at most `lost_after`.
        settling: Frames for which it stays reacquired.
    """

    state: ObjectState = ObjectState.VISIBLE
    absent: int = 0
    settling: int = 0

    @classmethod
    def lost(cls, policy: Policy) -> "Presence":
        """The state of an object that nobody has shown yet."""
        return cls(ObjectState.LOST, absent=policy.lost_after)

    def track(self, score: float, policy: Policy) -> None:
        """Take in the object score, 0..1, of a new frame."""
        shown = self.state in SHOWN
        if score > 0.5 and (shown or score >= policy.appear_score):
            self._seen(policy)
        else:
            self._unseen(policy)

    def prompt(self, score: float) -> None:
        """Take in the object score of a frame on which a user said where the object is."""
        there = score > 0.5
        self.state = ObjectState.VISIBLE if there else ObjectState.OCCLUDED
        self.absent = 0 if there else 1
        self.settling = 0

    def _seen(self, policy: Policy) -> None:
        if self.state is ObjectState.LOST:
            self.settling = policy.settle_frames
        self.settling = max(0, self.settling - 1)
        self.state = ObjectState.REACQUIRED if self.settling else ObjectState.VISIBLE
        self.absent = 0

    def _unseen(self, policy: Policy) -> None:
        self.absent = min(self.absent + 1, policy.lost_after)
        lost = self.absent >= policy.lost_after
        self.state = ObjectState.LOST if lost else ObjectState.OCCLUDED
        self.settling = 0
