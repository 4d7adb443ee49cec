"""Commands on a live session: prompts on past frames, and no command that touches others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.moving_scene import WIDTH, frame, square
from tests.support.small_pico import optimized_small_pico, small_pico
from tracker.engine import Policy, Session
from tracker.errors import PromptError
from tracker.models import Model
from tracker.types import ObjectState, Prompt

CLICK_OFF = Prompt(1, ((20.0, 100.0),), (0,))


@pytest.fixture(scope="module")
def model() -> Model:
    return optimized_small_pico()


def started(model: Model, policy: Policy | None = None) -> Session:
    session = Session(model, policy)
    session.step(frame(0))
    session.prompt(Prompt(1, mask_hw=square(0)))
    return session


def run(session: Session, first: int, stop: int) -> None:
    for i in range(first, stop):
        session.step(frame(i))


def logits(session: Session, object_id: int) -> torch.Tensor:
    return session.state.objects.get(object_id).outputs[-1].decoded.logits_n1ss


@pytest.mark.slow
def test_a_new_object_drawn_on_a_past_frame_is_caught_up(model: Model) -> None:
    then, later = started(model), started(model)
    drawn = Prompt(2, box_xyxy=(54, 40, 94, 80))
    run(then, 1, 3)
    then.prompt(drawn)
    run(then, 3, 7)
    run(later, 1, 7)
    prompted = later.prompt(drawn, step=2)
    assert (prompted.step, prompted.caught_up) == (2, 4)
    assert_close(logits(later, 2), logits(then, 2))
    assert np.array_equal(prompted.object.mask_hw, later.result().objects[1].mask_hw)


@pytest.mark.slow
def test_a_correction_on_a_past_frame_is_as_if_made_then(model: Model) -> None:
    then, later = started(model), started(model)
    run(then, 1, 4)
    then.prompt(CLICK_OFF)
    run(then, 4, 8)
    run(later, 1, 8)
    before = logits(later, 1).clone()
    assert later.prompt(CLICK_OFF, step=3).caught_up == 4
    assert_close(logits(later, 1), logits(then, 1))
    assert not torch.equal(before, logits(later, 1)), "the correction changed nothing"


@pytest.mark.slow
def test_a_past_correction_keeps_the_later_ones(model: Model) -> None:
    session = started(model)
    run(session, 1, 6)
    session.prompt(Prompt(1, mask_hw=square(40)), step=4)
    session.prompt(CLICK_OFF, step=2)
    given = session.state.objects.get(1).output_at(4)
    assert given is not None
    assert (given.logits_n1ss[0, 0] > 0).sum() > 0
    columns = (given.logits_n1ss[0, 0] > 0).nonzero()[:, 1].float()
    centre_x = columns.mean() * WIDTH / given.logits_n1ss.shape[-1]
    assert centre_x == pytest.approx(110, abs=4), "the mask given on step 4 is still there"


@pytest.mark.parametrize(("step", "says"), [(9, "still to come"), (1, "older than the history")])
@pytest.mark.slow
def test_a_step_outside_the_history_is_refused(model: Model, step: int, says: str) -> None:
    session = started(model, Policy(history_frames=3))
    run(session, 1, 8)
    with pytest.raises(PromptError, match=says):
        session.prompt(CLICK_OFF, step=step)


@pytest.mark.slow
def test_the_history_is_bounded_in_frames_and_in_bytes(model: Model) -> None:
    by_frames = started(model, Policy(history_frames=3))
    run(by_frames, 1, 7)
    assert len(by_frames.state.history) == 4
    one_frame = by_frames.state.history[0].features.nbytes
    by_bytes = started(model, Policy(history_frames=60, history_bytes=2 * one_frame))
    run(by_bytes, 1, 5)
    assert len(by_bytes.state.history) == 2


@pytest.mark.slow
def test_prompts_left_to_replay_keep_the_frames_that_another_lacks() -> None:
    """The frames are encoded only then, so that the bound in bytes is passed meanwhile."""
    model = small_pico()
    session = Session(model, Policy(history_frames=60, history_bytes=4 * frame_bytes(model)))
    run(session, 0, 8)
    for object_id in (1, 2):
        drawn = Prompt(object_id, box_xyxy=(54, 40, 94, 80))
        prompted = session.prompt(drawn, step=2, replay=False)
        assert (prompted.step, prompted.left) == (2, 5)
    session.step(frame(8))
    assert not session.is_behind
    assert {obj.tracked_step for obj in session.state.objects.rows} == {8}
    held = sum(one.encoded.nbytes for one in session.state.history)
    assert held <= session.policy.history_bytes


@pytest.mark.slow
def test_a_frame_that_is_gone_ends_a_replay() -> None:
    session = Session(small_pico())
    run(session, 0, 4)
    session.prompt(Prompt(1, box_xyxy=(54, 40, 94, 80)), step=1, replay=False)
    for _ in range(3):
        session.state.history.popleft()
    with pytest.raises(PromptError, match="older than the history"):
        session.replay_next()
    assert not session.is_behind
    assert session.step(frame(4)).objects


def frame_bytes(model: Model) -> int:
    """Bytes of the features of a frame."""
    session = Session(model)
    session.step(frame(0))
    return session.state.history[0].features.nbytes


COMMANDS: dict[str, Callable[[Session], object]] = {
    "add": lambda s: s.prompt(Prompt(5, box_xyxy=(10, 10, 60, 60))),
    "add on a past frame": lambda s: s.prompt(Prompt(5, box_xyxy=(10, 10, 60, 60)), step=1),
    "correct": lambda s: s.prompt(Prompt(2, ((60.0, 50.0),), (1,))),
    "correct a past frame": lambda s: s.prompt(Prompt(2, ((60.0, 50.0),), (1,)), step=2),
    "replace": lambda s: s.prompt(Prompt(2, mask_hw=square(30))),
    "remove": lambda s: s.remove(2),
    "relabel": lambda s: s.relabel(2, "other"),
    "reset": lambda s: s.reset(2),
}


def with_another(model: Model) -> Session:
    """A session of two objects on its fourth frame."""
    session = started(model)
    session.prompt(Prompt(2, mask_hw=square(20)))
    run(session, 1, 4)
    return session


@pytest.fixture(scope="module")
def untouched(model: Model) -> list[torch.Tensor]:
    """Logits of the first of them, from there on, where nothing is done to the other."""
    session = with_another(model)
    found = [logits(session, 1)]
    for i in range(4, 8):
        session.step(frame(i))
        found.append(logits(session, 1))
    return found


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
@pytest.mark.slow
def test_a_command_leaves_the_other_objects_as_they_were(
    model: Model, untouched: list[torch.Tensor], command: Callable[[Session], object]
) -> None:
    """Bit for bit on that frame; later on, a batch of another size may round differently."""
    touched = with_another(model)
    command(touched)
    assert torch.equal(logits(touched, 1), untouched[0])
    for i, expected in enumerate(untouched[1:], start=4):
        touched.step(frame(i))
        assert_close(logits(touched, 1), expected)


@pytest.mark.slow
def test_a_reset_object_is_lost_until_it_is_prompted_again(model: Model) -> None:
    session = started(model)
    session.relabel(1, "square")
    run(session, 1, 3)
    session.reset(1)
    (obj,) = session.step(frame(3)).objects
    assert (obj.state, obj.label, obj.box_xyxy) == (ObjectState.LOST, "square", None)
    session.prompt(Prompt(1, mask_hw=square(3)))
    (obj,) = session.step(frame(4)).objects
    assert obj.state is ObjectState.VISIBLE
    assert obj.box_xyxy is not None


@pytest.mark.slow
def test_many_objects_in_one_pass_equal_one_object_at_a_time(model: Model) -> None:
    together = started(model)
    alone = started(model, Policy(batch_objects=1))
    for session in (together, alone):
        for i in range(2, 7):
            session.prompt(Prompt(i, mask_hw=square(4 * i)))
        run(session, 1, 8)
    for object_id in range(1, 7):
        assert_close(logits(together, object_id), logits(alone, object_id))


@pytest.mark.slow
def test_objects_of_unequal_age_in_one_pass_equal_one_object_at_a_time(model: Model) -> None:
    together, alone = started(model), started(model, Policy(batch_objects=1))
    for session in (together, alone):
        for i in range(2, 6):
            run(session, 3 * i - 5, 3 * i - 3)
            session.prompt(Prompt(i, mask_hw=square(4 * i)))
        run(session, 13, 15)
    groups = [len(batch) for batch in together.state.bank.batches(15, limit=16)]
    assert groups == [len(together.object_ids)], "all remember unequally much"
    for object_id in together.object_ids:
        assert_close(logits(together, object_id), logits(alone, object_id))


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal but for the order of sums: a batch of another size rounds differently."""
    a, b = ours > 0, theirs > 0
    union = (a | b).sum().item()
    assert union == 0 or (a & b).sum().item() / union >= 0.999
    assert (ours - theirs).abs().max().item() <= 0.05


@pytest.mark.slow
def test_a_declared_object_is_lost_until_it_is_prompted(model: Model) -> None:
    session = Session(model)
    session.declare(4, "square")
    for i in range(2):
        (obj,) = session.step(frame(i)).objects
        assert (obj.id, obj.label, obj.score) == (4, "square", 0.0)
        assert (obj.state, obj.box_xyxy) == (ObjectState.LOST, None)
    session.prompt(Prompt(4, mask_hw=square(1)))
    (obj,) = session.step(frame(2)).objects
    assert (obj.label, obj.state) == ("square", ObjectState.VISIBLE)
    assert obj.box_xyxy is not None


@pytest.mark.slow
def test_declaring_an_object_leaves_the_others_as_they_were(model: Model) -> None:
    touched, untouched = started(model), started(model)
    touched.declare(2, None)
    for i in range(1, 4):
        touched.step(frame(i))
        untouched.step(frame(i))
    assert torch.equal(logits(touched, 1), logits(untouched, 1))


def test_a_declared_object_needs_an_id_of_its_own_and_room(model: Model) -> None:
    session = Session(model, Policy(max_objects=2))
    session.declare(1, None)
    for taken in (1, 0):
        with pytest.raises(PromptError, match="below 1 or taken"):
            session.declare(taken, None)
    session.declare(2, None)
    with pytest.raises(PromptError, match="already tracks 2"):
        session.declare(3, None)
    assert session.object_ids == (1, 2)


def test_a_declared_object_survives_a_snapshot(model: Model, tmp_path: Path) -> None:
    session = started(model)
    session.declare(7, "cup")
    session.save(tmp_path / "s")
    restored = Session.load(tmp_path / "s", model)
    assert [(o.id, o.label, o.state) for o in restored.step(frame(1)).objects] == [
        (1, None, ObjectState.VISIBLE),
        (7, "cup", ObjectState.LOST),
    ]
