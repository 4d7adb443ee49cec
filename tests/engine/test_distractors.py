"""Distractor memories: which frames tell an object from its like, and what becomes of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.moving_scene import frame, square
from tests.support.small_pico import small_pico
from tracker.engine import Policy, Session
from tracker.engine.memory_bank import EMPTY
from tracker.engine.memory_policy import AREAS
from tracker.engine.memory_policy.distractor import is_steady
from tracker.models import Model, candidates
from tracker.models.base import Decoded, Features
from tracker.models.distractors import find_distractors
from tracker.models.sam2.verbs import Sam2Network
from tracker.types import Prompt

POLICY = Policy(keep_memories="distractors", history_frames=8)
SIZE = 32  # low-resolution pixels of the small model
TELLING = {"distractor": True, "side": 20, "iou": 0.9, "presence": 5.0}


@pytest.fixture
def model() -> Model:
    return small_pico()


class Script:
    """Stands in for the mask decoder; each frame tracked is as `usual` but for `now`."""

    def __init__(self) -> None:
        self.usual: dict[str, float] = TELLING | {"distractor": False}
        self.now: dict[str, float] = {}
        self.asked: set[bool] = set()

    def decode(
        self,
        network: Sam2Network,
        features: Features,
        conditioned_nchw: Tensor,
        *,
        want_distractors: bool = False,
        **rest: object,
    ) -> Decoded:
        n, said = conditioned_nchw.shape[0], self.usual | self.now
        self.asked.add(want_distractors)
        logits = torch.full((n, 1, SIZE, SIZE), -5.0)
        if said["presence"] > 0:
            logits[..., 5 : 5 + said["side"], 5 : 5 + said["side"]] = 5.0
        return Decoded(
            logits_n1ss=logits,
            presence_n1=torch.full((n, 1), said["presence"]),
            iou_n=torch.full((n,), said["iou"]),
            pointers_nc=torch.zeros(n, network.module.hidden_dim),
            distractor_n=torch.full((n,), bool(said["distractor"])) if want_distractors else None,
        )


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()

    def decode(network: Sam2Network, *args: object, **options: object) -> Decoded:
        return script.decode(network, *args, **options)

    monkeypatch.setattr(Sam2Network, "decode", decode)
    return script


def begun(model: Model, policy: Policy = POLICY) -> Session:
    """A session with two objects on its first frame."""
    session = Session(model, policy)
    session.step(frame())
    for object_id in (1, 2):
        session.prompt(Prompt(object_id, ((70.0, 60.0),), (1,)))
    return session


def distractor_steps(session: Session, row: int = 0) -> list[int]:
    """The steps of a row's distractor memories."""
    shape = session.state.bank.shape
    steps = session.state.bank.tensors(session.state.history[-1].step)["map_step"][
        row, shape.prompted : shape.lasting
    ]
    return sorted(step for step in steps.tolist() if step != EMPTY)


def blob(*boxes: tuple[int, int, int, int], logit: float = 1.0) -> Tensor:
    logits_ss = torch.full((20, 20), -5.0)
    for x0, y0, x1, y1 in boxes:
        logits_ss[y0:y1, x0:x1] = logit
    return logits_ss


HERE, THERE = (2, 3, 8, 9), (12, 3, 18, 9)


@pytest.mark.parametrize(
    ("candidates", "iou", "distractor"),
    [
        ([blob(HERE), blob(HERE)], [0.9, 0.9], False),
        ([blob(HERE), blob(THERE)], [0.9, 0.85], True),
        ([blob(THERE), blob(HERE, THERE)], [0.85, 0.9], False),  # the best has them both
        ([blob(HERE), blob(HERE, THERE)], [0.9, 0.85], True),
        ([blob(HERE), blob(THERE)], [0.9, 0.75], False),
        ([blob(HERE), blob((2, 3, 9, 10))], [0.9, 0.9], False),  # 36 of 49 pixels
        ([blob(HERE), blob((2, 3, 8, 12))], [0.9, 0.9], True),  # 36 of 54
        ([blob(HERE), blob()], [0.9, 0.9], False),
        ([blob(HERE)], [0.9], False),
        ([blob(HERE).maximum(blob(THERE, logit=-0.5))], [0.9], True),  # just under the threshold
        ([blob(HERE).maximum(blob(THERE, logit=-1.5))], [0.9], False),
        ([blob(THERE, logit=-0.5), blob(HERE)], [0.85, 0.9], False),  # of another candidate
    ],
)
def test_a_candidate_elsewhere_that_is_as_good_is_a_distractor(
    candidates: list[Tensor], iou: list[float], distractor: bool
) -> None:
    logits_nass = torch.stack([torch.stack(candidates)] * 2)
    assert find_distractors(logits_nass, torch.tensor([iou] * 2)).tolist() == [distractor] * 2


def test_distractors_are_told_object_by_object() -> None:
    alone, contested = [blob(HERE), blob(HERE)], [blob(HERE), blob(THERE)]
    logits_nass = torch.stack([torch.stack(alone), torch.stack(contested)])
    assert find_distractors(logits_nass, torch.full((2, 2), 0.9)).tolist() == [False, True]


@pytest.mark.parametrize(
    ("area", "before", "steady"),
    [
        (100, [], False),
        (0, [], False),
        (120, [100], True),
        (121, [100], False),
        (79, [100], False),
        (100, [9, 100, 100, 999], True),
        (0, [1], False),
    ],
)
def test_an_area_is_steady_within_a_fifth_of_the_median(
    area: int, before: list[int], steady: bool
) -> None:
    assert is_steady(area, before) is steady


def test_the_decoder_looks_for_distractors_only_when_asked(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = model.network
    with torch.inference_mode():
        features = network.encode_image(np.zeros((128, 128, 3), np.uint8))
        inside = network.condition(features, [])
        decoded = [
            network.decode(features, inside, first=True, want_distractors=want)
            for want in (False, True)
        ]
        monkeypatch.setattr(network.module, "multimask_output_in_sam", False)
        decoded.append(network.decode(features, inside, first=True, want_distractors=True))
    assert decoded[0].distractor_n is None
    for asked in decoded[1:]:
        assert asked.distractor_n is not None
        assert asked.distractor_n.shape == (1,)


def test_a_frame_with_a_distractor_is_remembered_for_long_of_every_object(
    model: Model, script: Script
) -> None:
    session = begun(model)
    for step in range(1, 5):
        script.now = TELLING if step == 3 else {}
        session.step(frame(step))
    assert distractor_steps(session, 0) == distractor_steps(session, 1) == [3]


@pytest.mark.parametrize(
    "but", [{"distractor": False}, {"side": 23}, {"side": 17}, {"iou": 0.4}, {"presence": -5.0}]
)
def test_a_frame_that_tells_nothing_apart_is_not_remembered_for_long(
    model: Model, script: Script, but: dict[str, float]
) -> None:
    session = begun(model)
    script.now = TELLING | but
    session.step(frame(1))
    assert distractor_steps(session) == []


@pytest.mark.slow
def test_distractor_memories_are_five_frames_apart_and_the_newest_two_stay(
    model: Model, script: Script
) -> None:
    session = begun(model)
    script.now = TELLING
    seen = []
    for step in range(1, 13):
        session.step(frame(step))
        seen.append(distractor_steps(session))
    assert seen == [[1]] * 5 + [[1, 6]] * 5 + [[6, 11]] * 2


@pytest.mark.parametrize("keep", ["all", "present", "confident"])
def test_other_policies_look_for_no_distractors_and_hold_no_distractor_memories(
    model: Model, script: Script, keep: str
) -> None:
    session = begun(model, replace(POLICY, keep_memories=keep))
    script.now = TELLING
    session.step(frame(1))
    assert script.asked == {False}
    assert session.state.bank.shape.distractors == 0
    assert not session.state.objects.rows[0].areas


@pytest.mark.slow
def test_a_prompt_on_a_past_frame_drops_the_distractor_memories_from_there_on(
    model: Model, script: Script
) -> None:
    session = begun(model)
    for step in range(1, 9):
        script.now = TELLING if step in (1, 7) else {}
        session.step(frame(step))
    assert distractor_steps(session) == [1, 7]
    session.prompt(Prompt(1, ((70.0, 60.0),), (1,)), step=5)
    assert distractor_steps(session, 0) == [1]
    assert distractor_steps(session, 1) == [1, 7], "the other object's stay"


@pytest.mark.slow
def test_tracking_again_makes_distractor_memories_again(model: Model, script: Script) -> None:
    session = begun(model)
    script.now = TELLING
    for step in range(1, 9):
        session.step(frame(step))
    assert distractor_steps(session) == [1, 6]
    session.prompt(Prompt(1, ((70.0, 60.0),), (1,)), step=1)
    assert distractor_steps(session) == [2, 7]


def test_reset_and_remove_take_the_distractor_memories_along(model: Model, script: Script) -> None:
    session = begun(model)
    script.now = TELLING
    session.step(frame(1))
    session.reset(2)
    assert (distractor_steps(session, 0), distractor_steps(session, 1)) == ([1], [])
    assert session.state.objects.rows[1].areas == {}
    session.remove(1)
    assert distractor_steps(session, 0) == []


@pytest.mark.slow
def test_areas_are_kept_as_far_back_as_they_are_looked_at(model: Model, script: Script) -> None:
    session = begun(model, replace(POLICY, history_frames=2))
    for step in range(1, 30):
        script.now = {"presence": -5.0} if step % 2 else {}
        session.step(frame(0))
    obj = session.state.objects.rows[0]
    assert obj.areas_before(29) == [400] * AREAS
    assert len(obj.areas) <= AREAS + 1 + 2
    assert all(step % 2 == 0 for step in obj.areas)


@pytest.mark.slow
def test_distractor_memories_change_what_is_tracked_once_they_are_old(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scores(policy: Policy) -> list[float]:
        session = Session(model, policy)
        session.step(frame())
        session.prompt(Prompt(1, mask_hw=square()))
        return [session.step(frame(step)).objects[0].score for step in range(1, 9)]

    monkeypatch.setattr(candidates, "find_distractors", lambda _, iou: torch.ones(len(iou)).bool())
    all_, with_distractors = scores(Policy()), scores(POLICY)
    recent = model.network.memory.recent
    assert with_distractors[: 1 + recent] == all_[: 1 + recent], (
        "the lasting memory, step 1, is a recent one"
    )
    assert with_distractors[1 + recent :] != all_[1 + recent :]


@pytest.mark.slow
def test_a_snapshot_carries_distractor_memories_and_areas(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "find_distractors", lambda _, iou: torch.ones(len(iou)).bool())
    session = Session(model, POLICY)
    session.step(frame())
    session.prompt(Prompt(1, mask_hw=square()))
    for step in range(1, 9):
        session.step(frame(step))
    session.save(tmp_path / "s")
    restored = Session.load(tmp_path / "s", model)
    assert distractor_steps(restored) == distractor_steps(session) == [1, 6]
    assert restored.state.objects.rows[0].areas == session.state.objects.rows[0].areas
    for step in range(9, 13):
        (theirs,), (ours,) = restored.step(frame(step)).objects, session.step(frame(step)).objects
        assert np.array_equal(ours.mask_hw, theirs.mask_hw)
        assert ours.score == theirs.score
    assert distractor_steps(restored) == distractor_steps(session) == [6, 11]
