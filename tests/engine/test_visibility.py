"""States of an object: visible, occluded, lost, reacquired."""

from tracker.engine import Policy
from tracker.engine.visibility import Presence
from tracker.types import ObjectState

POLICY = Policy(appear_score=0.6, lost_after=3, settle_frames=2)


def states(*scores: float) -> str:
    """First letters of the states that follow from scores, one per frame."""
    presence, seen = Presence(), ""
    for score in scores:
        presence.track(score, POLICY)
        seen += presence.state.value[0]
    return seen


def test_a_short_absence_is_an_occlusion() -> None:
    assert states(0.9, 0.2, 0.2, 0.9) == "voov"


def test_a_long_absence_is_a_loss_and_coming_back_takes_time_to_settle() -> None:
    assert states(0.9, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9) == "voollrvv"


def test_a_doubtful_score_keeps_what_was_there_and_brings_nothing_back() -> None:
    assert states(0.55, 0.55) == "vv"
    assert states(0.1, 0.55, 0.65) == "oov"


def test_absence_while_settling_is_an_occlusion_again() -> None:
    assert states(0.1, 0.1, 0.1, 0.9, 0.1, 0.9) == "oolrov"


def test_a_prompt_decides_at_once() -> None:
    presence = Presence.lost(POLICY)
    presence.prompt(0.9)
    assert presence.state is ObjectState.VISIBLE
    presence.prompt(0.1)
    assert presence.state is ObjectState.OCCLUDED
