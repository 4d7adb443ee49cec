"""Memory policies: which frames each remembers, and the names that callers may say."""

import pytest
import torch

from tracker.engine import MEMORY_POLICIES, Policy
from tracker.engine.memory_policy import ObjectPast
from tracker.models.sam2.verbs import Decoded

ABSENT, DOUBTFUL, SURE = 0, 1, 2  # objects of `decoded`


def decoded(distractor: bool = True) -> Decoded:
    logits = torch.full((3, 1, 8, 8), -5.0)
    logits[DOUBTFUL:, :, :5, :4] = 5.0
    return Decoded(
        logits_n1ss=logits,
        presence_n1=torch.tensor([[-1.0], [2.0], [4.0]]),
        iou_n=torch.tensor([0.9, 0.3, 0.8]),
        pointers_nc=torch.zeros(3, 4),
        distractor_n=torch.full((3,), distractor),
    )


@pytest.mark.parametrize(
    ("name", "remembered"),
    [
        ("all", [ABSENT, DOUBTFUL, SURE]),
        ("present", [DOUBTFUL, SURE]),
        ("confident", [SURE]),
        ("distractors", [ABSENT, DOUBTFUL, SURE]),
    ],
)
def test_each_remembers_its_frames(name: str, remembered: list[int]) -> None:
    assert MEMORY_POLICIES[name].remembers(decoded()).nonzero()[0].tolist() == remembered


def test_only_a_confident_steady_mask_beside_a_distractor_lasts() -> None:
    policy = MEMORY_POLICIES["distractors"]
    steady = [ObjectPast((20, 20), lasting_age=5)] * 3
    assert policy.lasts(decoded(), steady) == [False, False, True]
    assert policy.lasts(decoded(distractor=False), steady) == [False] * 3
    assert policy.lasts(decoded(), [ObjectPast((90,), lasting_age=5)] * 3) == [False] * 3
    assert policy.lasts(decoded(), [ObjectPast((20,), lasting_age=4)] * 3) == [False] * 3


@pytest.mark.parametrize(
    ("said", "name"), [("sure", "confident"), ("rivals", "distractors"), ("all", "all")]
)
def test_older_names_mean_the_same(said: str, name: str) -> None:
    assert Policy(keep_memories=said) == Policy(keep_memories=name)
    assert Policy(keep_memories=said).memory is MEMORY_POLICIES[name]


def test_another_name_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(ValueError, match="'most'; use all, present, confident, distractors"):
        Policy(keep_memories="most")
