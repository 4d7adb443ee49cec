"""Less effort a frame: other input sizes, fewer memories, objects by turns; and back."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.live_scene import iou
from tests.support.moving_scene import frame, square
from tests.support.small_pico import small_pico
from tracker.engine import ComputeBudget, Policy, Session
from tracker.errors import PromptError, UsageError
from tracker.models import Model, load_model, resized
from tracker.types import ObjectResult, ObjectState, Prompt, TrackResult

SMALL = ComputeBudget(input_size=192)


@pytest.fixture(scope="module")
def model() -> Model:
    return resized(load_model("pico", device="cpu", dtype="fp32"), 256)


@pytest.fixture
def session(model: Model) -> Session:
    """The square, prompted and seen a few times."""
    session = Session(model)
    session.step(frame(0))
    session.prompt(Prompt(1, mask_hw=square(0), label="square"))
    for shift in range(1, 4):
        session.step(frame(shift))
    return session


def only(result: TrackResult) -> ObjectResult:
    (obj,) = result.objects
    return obj


class TestAModelForAnotherSize:
    @pytest.mark.slow
    def test_it_has_the_very_same_weights(self, model: Model) -> None:
        smaller = resized(model, 192)
        assert smaller.input.size == 192
        theirs = dict(smaller.network.module.named_parameters())
        for name, parameter in model.network.module.named_parameters():
            assert theirs[name] is parameter

    @pytest.mark.slow
    def test_it_is_made_once_and_leads_back(self, model: Model) -> None:
        smaller = resized(model, 192)
        assert resized(model, 192) is smaller
        assert resized(resized(smaller, 224), 256) is model

    @pytest.mark.parametrize("size", [32, 100, 448])
    def test_a_size_that_it_does_not_take_is_refused(self, model: Model, size: int) -> None:
        with pytest.raises(UsageError, match=f"no pictures of {size} pixels"):
            resized(model, size)

    def test_weights_of_one_size_stay_there(self) -> None:
        with pytest.raises(UsageError, match="takes pictures of 128 pixels"):
            Session(small_pico()).step(frame(0), SMALL)


class TestInputSize:
    @pytest.mark.slow
    def test_the_square_is_followed_down_and_up_again(self, session: Session) -> None:
        sizes = (192, 224, 192, 256)
        for shift, size in enumerate(sizes, start=4):
            obj = only(session.step(frame(shift), ComputeBudget(input_size=size)))
            assert session.model.input.size == size
            assert (obj.state, obj.fresh) == (ObjectState.VISIBLE, True)
            assert iou(obj.mask_hw, square(shift)) > 0.6

    @pytest.mark.slow
    def test_going_and_coming_back_leaves_the_bank_as_large_as_it_was(
        self, session: Session
    ) -> None:
        before = session.state.bank.nbytes
        session.step(frame(4), SMALL)
        assert session.state.bank.nbytes < before
        session.step(frame(5))
        assert session.state.bank.nbytes == before

    @pytest.mark.slow
    def test_prompts_go_to_frames_of_the_size_in_use(self, session: Session) -> None:
        newest = session.step(frame(4), SMALL).step
        with pytest.raises(PromptError, match=f"older than the history, which begins at {newest}"):
            session.prompt(Prompt(2, mask_hw=square(3)), step=newest - 1)
        session.prompt(Prompt(1, ((60.0, 50.0),), (1,)))
        prompted = session.prompt(Prompt(2, mask_hw=square(4)), step=newest)
        assert prompted.object.box_xyxy is not None
        assert [obj.id for obj in session.step(frame(5), SMALL).objects] == [1, 2]

    @pytest.mark.slow
    def test_a_snapshot_goes_on_bit_for_bit(
        self, session: Session, model: Model, tmp_path: Path
    ) -> None:
        session.step(frame(4), SMALL)
        session.save(tmp_path / "s")
        restored = Session.load(tmp_path / "s", model)
        for shift, effort in ((5, SMALL), (6, ComputeBudget())):
            ours = only(session.step(frame(shift), effort))
            theirs = only(restored.step(frame(shift), effort))
            assert np.array_equal(ours.mask_hw, theirs.mask_hw)
            assert ours.score == theirs.score


class TestFewerMemories:
    @pytest.mark.slow
    def test_the_newest_are_recalled_beside_the_prompted_one(self, session: Session) -> None:
        session.step(frame(4), ComputeBudget(memories=1))
        memories = session.state.bank.recall(np.array([0]), 5)
        assert memories.maps_nkqm.shape[1] == 2
        last = session.state.bank.shape.recent
        assert memories.age_index_nk.tolist() == [[last, 0]], "the prompted one, then age 1"

    @pytest.mark.slow
    def test_all_are_recalled_again_afterwards(self, session: Session) -> None:
        session.step(frame(4), ComputeBudget(memories=0))
        assert session.state.bank.recall(np.array([0]), 5).maps_nkqm.shape[1] == 1
        session.step(frame(5))
        assert session.state.bank.recall(np.array([0]), 6).maps_nkqm.shape[1] == 5


class TestObjectsByTurns:
    @pytest.fixture
    def crowd(self, session: Session) -> Session:
        for object_id in (2, 3):
            session.prompt(Prompt(object_id, mask_hw=square(3)))
        return session

    @pytest.mark.slow
    def test_each_has_its_turn_and_none_is_stale(self, crowd: Session) -> None:
        turns = []
        for shift in range(4, 10):
            result = crowd.step(frame(shift), ComputeBudget(objects_per_frame=1))
            for obj in result.objects:
                if obj.fresh:
                    turns.append(obj.id)
                    assert iou(obj.mask_hw, square(shift)) > 0.5
                else:
                    assert obj.box_xyxy is None
                    assert not obj.mask_hw.any()
                    assert obj.state is ObjectState.VISIBLE
                    assert obj.score > 0.5
        assert turns == [1, 2, 3, 1, 2, 3]

    @pytest.mark.slow
    def test_a_prompt_counts_at_once_and_then_waits_for_its_turn(self, crowd: Session) -> None:
        by_turns = ComputeBudget(objects_per_frame=2)
        crowd.step(frame(4), by_turns)
        assert crowd.prompt(Prompt(3, mask_hw=square(4))).object.fresh
        result = crowd.step(frame(5), by_turns)
        assert [obj.id for obj in result.objects if obj.fresh] == [1, 2]

    @pytest.mark.slow
    def test_memories_of_many_steps_ago_are_recalled(self, crowd: Session) -> None:
        for shift in range(4, 16):
            crowd.step(frame(shift), ComputeBudget(objects_per_frame=1))
        memories = crowd.state.bank.recall(np.array([0]), crowd.result().step + 1)
        assert memories.maps_nkqm.shape[1] == 1 + crowd.state.bank.shape.recent
        assert memories.age_index_nk.tolist() == [[4, 3, 2, 1, 0]], "by order, not by age"

    @pytest.mark.slow
    def test_with_turns_for_all_none_waits(self, crowd: Session) -> None:
        result = crowd.step(frame(4), ComputeBudget(objects_per_frame=3))
        assert all(obj.fresh for obj in result.objects)

    @pytest.mark.slow
    def test_an_object_that_nobody_has_shown_takes_no_turn(self, crowd: Session) -> None:
        crowd.reset(1)
        result = crowd.step(frame(4), ComputeBudget(objects_per_frame=2))
        assert [obj.fresh for obj in result.objects] == [True, True, True]
        assert result.objects[0].state is ObjectState.LOST

    @pytest.mark.slow
    def test_a_snapshot_keeps_who_waits(self, crowd: Session, model: Model, tmp_path: Path) -> None:
        by_turns = ComputeBudget(objects_per_frame=1)
        before = crowd.step(frame(4), by_turns)
        crowd.save(tmp_path / "s")
        restored = Session.load(tmp_path / "s", model)
        fresh = [obj.fresh for obj in restored.result().objects]
        assert fresh == [obj.fresh for obj in before.objects] == [True, False, False]
        turns = [
            obj.id
            for shift in (5, 6)
            for obj in restored.step(frame(shift), by_turns).objects
            if obj.fresh
        ]
        assert turns == [2, 3]


@pytest.mark.slow
def test_nothing_grows_while_the_effort_changes_all_the_time(model: Model) -> None:
    session = Session(model, Policy(history_frames=4))
    session.step(frame(0))
    for object_id in (1, 2):
        session.prompt(Prompt(object_id, mask_hw=square(0)))
    efforts = [ComputeBudget(), SMALL, ComputeBudget(224, 1, 1), ComputeBudget(objects_per_frame=1)]
    for shift in range(1, 13):
        session.step(frame(shift), efforts[shift % len(efforts)])
        assert len(session.state.history) <= 5
        assert all(len(obj.outputs) <= 5 for obj in session.state.objects.rows)
    assert set(model.sizes) == {192, 224, 256, 416}, "one for each size that was used"


@pytest.mark.parametrize("wrong", [{"memories": -1}, {"objects_per_frame": 0}])
def test_an_effort_that_tracks_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="an object"):
        ComputeBudget(**wrong)
