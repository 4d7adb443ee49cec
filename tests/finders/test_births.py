"""Policy of births and deaths."""

import numpy as np
import pytest

from tracker.errors import UsageError
from tracker.finders.base import Proposal
from tracker.finders.births import BirthPolicy, Births, Deaths, Refusal
from tracker.types import ObjectResult, ObjectState

PICTURE_PX = 100 * 100


def tracked(
    object_id: int,
    box: tuple[int, int, int, int] | None,
    mask_hw: np.ndarray | None = None,
    *,
    fresh: bool = True,
    state: ObjectState | None = None,
) -> ObjectResult:
    if mask_hw is None:
        mask_hw = np.zeros((100, 100), np.bool_)
        if box is not None:
            mask_hw[box[1] : box[3], box[0] : box[2]] = True
    state = state or (ObjectState.LOST if box is None else ObjectState.VISIBLE)
    return ObjectResult(object_id, None, state, 0.9, 0.9, box, mask_hw, fresh)


def boxes(births: Births, proposals: list[Proposal], *objects: ObjectResult) -> list[tuple]:
    return [item.box_xyxy for item in births.chosen(proposals, objects, PICTURE_PX)]


def test_low_scores_and_small_areas_are_refused():
    births = Births(BirthPolicy(min_score=0.5, min_area=0.01))
    proposals = [
        Proposal((0, 0, 20, 20), 0.4),
        Proposal((0, 0, 9, 9), 0.9),
        Proposal((50, 50, 60, 60), 0.5),
    ]
    assert boxes(births, proposals) == [(50, 50, 60, 60)]
    assert births.refused == {Refusal.LOW_SCORE: 1, Refusal.SMALL: 1}


def test_what_is_tracked_already_is_refused_by_iou():
    births = Births(BirthPolicy(max_overlap=0.5, max_cover=1))
    half = Proposal((0, 0, 20, 30), 0.9)  # 400 of 800 with the box below: IoU 0.5
    less = Proposal((7, 0, 27, 20), 0.8)  # 260 of 540: 0.48
    assert boxes(births, [half, less], tracked(1, (0, 10, 20, 40))) == [(7, 0, 27, 20)]
    assert births.refused == {Refusal.TRACKED: 1}


def test_parts_of_what_is_tracked_and_groups_with_it_are_refused():
    births = Births(BirthPolicy(max_overlap=1, max_cover=0.8))
    part = Proposal((0, 0, 4, 10), 0.9)
    group = Proposal((0, 0, 60, 60), 0.8)
    beside = Proposal((13, 0, 33, 20), 0.7)
    assert boxes(births, [part, group, beside], tracked(1, (0, 0, 20, 20))) == [(13, 0, 33, 20)]


def test_masks_decide_where_both_have_one():
    births = Births(BirthPolicy(max_overlap=0.3))
    upper, lower = np.tri(100, dtype=bool), ~np.tri(100, dtype=bool)
    proposal = Proposal((0, 0, 100, 100), 0.9, mask_hw=upper)
    assert boxes(births, [proposal], tracked(1, (0, 0, 100, 100), lower)) == [(0, 0, 100, 100)]
    assert boxes(births, [proposal], tracked(1, (0, 0, 100, 100), upper)) == []


def test_of_two_proposals_for_one_thing_the_better_is_born():
    births = Births(BirthPolicy())
    proposals = [Proposal((0, 0, 20, 20), 0.6), Proposal((1, 1, 21, 21), 0.7)]
    assert boxes(births, proposals) == [(1, 1, 21, 21)]


def test_no_more_objects_than_allowed_those_that_were_prompted_included():
    births = Births(BirthPolicy(max_objects=2))
    proposals = [Proposal((x, 50, x + 8, 58), 0.5 + x / 200) for x in (0, 20, 40)]
    assert boxes(births, proposals, tracked(1, (0, 0, 20, 20))) == [(40, 50, 48, 58)]
    assert births.refused == {Refusal.FULL: 2}


def test_an_object_expires_after_the_time_without_a_mask_and_not_while_it_comes_back():
    deaths = Deaths(2)
    there, lost = tracked(3, (0, 0, 20, 20)), tracked(3, None)
    seen = [(0, there), (1, lost), (1.9, lost), (2, there), (3.9, lost), (4, lost)]
    assert [deaths.expired([item], time_s) for time_s, item in seen] == [[], [], [], [], [], [3]]
    assert deaths.expired([], 9) == []


def test_an_object_whose_turn_it_was_not_is_not_absent():
    deaths = Deaths(1)
    waiting = tracked(3, None, fresh=False, state=ObjectState.VISIBLE)
    assert [deaths.expired([waiting], time_s) for time_s in (0, 1, 2, 3)] == [[]] * 4


def test_without_a_limit_nothing_expires():
    deaths = Deaths(None)
    assert [deaths.expired([tracked(3, None)], time_s) for time_s in (0, 1e6)] == [[], []]


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_score": 1.5},
        {"min_area": -0.1},
        {"max_overlap": float("nan")},
        {"max_cover": 1.1},
        {"max_objects": 0},
        {"expire_after_s": -1.0},
    ],
)
def test_limits_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} .*; give"):
        BirthPolicy(**wrong)
