"""Guarded finders: whatever a finder does, its caller gets proposals or one typed error."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tracker.errors import FinderError
from tracker.finders.base import Proposal
from tracker.finders.checked import MAX_PROPOSALS, check_proposals
from tracker.finders.guard import MAX_FAILURES, GuardedFinder

PICTURE = np.zeros((40, 60, 3), np.uint8)
GOOD = Proposal((1, 2, 11, 12), 0.5, "cat")


class Answering:
    """Gives or raises what a function says."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self.answer = answer
        self.calls = 0

    def find(self, image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> object:
        self.calls += 1
        return self.answer()


def raising() -> object:
    raise RuntimeError("no such layer")


def test_proposals_come_checked_and_best_first():
    guard = GuardedFinder(Answering(lambda: [GOOD, Proposal((-5, -5, 99, 20), 0.9)]), "it")
    found = guard.find(PICTURE, ())
    guard.close()
    assert [item.score for item in found] == [0.9, 0.5]
    assert found[0].box_xyxy == (0, 0, 60, 20)
    assert (guard.stats.calls, guard.stats.failures) == (1, 0)


def test_a_finder_that_raises_again_and_again_is_given_up():
    finder = Answering(raising)
    guard = GuardedFinder(finder, "it")
    for _ in range(MAX_FAILURES):
        with pytest.raises(FinderError, match="finder it failed: RuntimeError: no such layer"):
            guard.find(PICTURE, ())
    assert guard.find(PICTURE, ()) == ()
    assert finder.calls == guard.stats.failures == MAX_FAILURES
    assert guard.gave_up is not None and "no such layer" in guard.gave_up


def test_one_failure_among_answers_does_no_harm():
    answers = iter([raising, lambda: [GOOD]] * MAX_FAILURES)
    guard = GuardedFinder(Answering(lambda: next(answers)()), "it")
    for _ in range(MAX_FAILURES):
        with pytest.raises(FinderError):
            guard.find(PICTURE, ())
        assert guard.find(PICTURE, ()) == (GOOD,)
    assert guard.gave_up is None
    guard.close()


def test_a_finder_that_hangs_is_asked_once():
    released = threading.Event()
    finder = Answering(released.wait)
    guard = GuardedFinder(finder, "it", timeout_s=0.05)
    with pytest.raises(FinderError, match=r"finder it gave no answer within 0.05 s; it is not"):
        guard.find(PICTURE, ())
    assert guard.find(PICTURE, ()) == ()
    assert finder.calls == 1
    released.set()
    guard.close()


@pytest.mark.parametrize("answer", [None, 3, "cats", {"a": 1}, b"xx", iter([GOOD])])
def test_an_answer_of_another_kind_is_one_clear_error(answer):
    guard = GuardedFinder(Answering(lambda: answer), "it")
    with pytest.raises(FinderError, match=r"finder it returned \w+, not a sequence of proposals"):
        guard.find(PICTURE, ())
    guard.close()


MASK = np.zeros((40, 60), np.bool_)
MASK[3:5, 4:9] = True
NONSENSE = [
    "cat",
    Proposal((10, 10, 5, 20), 0.5),
    Proposal((70, 10, 90, 20), 0.5),
    Proposal((-9, -9, -1, -1), 0.5),
    Proposal((float("nan"), 1, 2, 3), 0.5),
    Proposal((0, 0, float("inf"), 3), 0.5),
    Proposal((1, 2, 3), 0.5),
    Proposal(None, 0.5),
    Proposal(("a", "b", "c", "d"), 0.5),
    Proposal((1, 1, 5, 5), float("nan")),
    Proposal((1, 1, 5, 5), 1.01),
    Proposal((1, 1, 5, 5), None),
    Proposal((1, 1, 5, 5), 0.5, ""),
    Proposal((1, 1, 5, 5), 0.5, "x" * 101),
    Proposal((1, 1, 5, 5), 0.5, 7),
    Proposal((1, 1, 5, 5), 0.5, None, MASK[:20]),
    Proposal((1, 1, 5, 5), 0.5, None, MASK.astype(np.uint8)),
    Proposal((1, 1, 5, 5), 0.5, None, np.zeros_like(MASK)),
    Proposal((1, 1, 5, 5), 0.5, None, MASK.tolist()),
]


def test_nonsense_is_left_out_and_counted():
    checked = check_proposals([*NONSENSE, GOOD], 40, 60, finder="it")
    assert checked.proposals == (GOOD,)
    assert (checked.invalid, checked.surplus) == (len(NONSENSE), 0)
    masked = Proposal((4, 3, 9, 5), 0.4, None, MASK)
    assert check_proposals([masked], 40, 60, finder="it").proposals == (masked,)


@pytest.mark.slow
def test_of_ten_thousand_proposals_the_best_are_kept():
    many = [Proposal((1, 1, 5, 5), i / 10_000) for i in range(10_000)]
    guard = GuardedFinder(Answering(lambda: many), "it")
    found = guard.find(PICTURE, ())
    guard.close()
    assert len(found) == MAX_PROPOSALS
    assert found[-1].score == (10_000 - MAX_PROPOSALS) / 10_000
    assert guard.stats.surplus == 10_000 - MAX_PROPOSALS
