"""Random frames and commands against the simplest reference: one session per object."""

from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.moving_scene import HEIGHT, WIDTH, frame, square
from tests.support.small_pico import small_pico
from tracker.engine import Policy, Session
from tracker.engine.memory_policy import AREAS, distractor
from tracker.models import candidates
from tracker.types import ObjectResult, Prompt

HISTORY = 4
MOST_OBJECTS = 5
POLICY = Policy(history_frames=HISTORY, max_objects=MOST_OBJECTS, lost_after=2, batch_objects=3)
DOUBT = 0.01  # of a score: closer to a threshold, rounding may decide
SHIFTS = st.integers(0, 60)
BACK = st.integers(0, HISTORY)


def prompts(shift: int) -> st.SearchStrategy[dict[str, Any]]:
    """Ways to say where the square is when it is `shift` pixels along."""
    x = 50.0 + shift
    return st.sampled_from(
        [
            {"mask_hw": square(shift)},
            {"box_xyxy": (x, 40.0, x + 40, 80.0)},
            {"points_xy": ((x + 20, 60.0),), "point_labels": (1,)},
            {"points_xy": ((x + 20, 60.0), (10.0, 10.0)), "point_labels": (1, 0)},
        ]
    )


@dataclass
class Reference:
    """A session with one object; its step 0 is step `begun` of the real one."""

    session: Session
    begun: int


class Commands(RuleBasedStateMachine):
    policy = POLICY

    @initialize()
    def begin(self) -> None:
        self.session = Session(small_pico(), self.policy)
        self.shifts: list[int] = []
        self.references: dict[int, Reference] = {}
        self.step(0)

    @rule(shift=SHIFTS)
    def step(self, shift: int) -> None:
        self.shifts.append(shift)
        self.session.step(frame(shift))
        for reference in self.references.values():
            reference.session.step(frame(shift))

    @precondition(lambda self: len(self.references) < MOST_OBJECTS)
    @rule(object_id=st.integers(1, 99), back=BACK, data=st.data())
    def add(self, object_id: int, back: int, data: st.DataObject) -> None:
        if object_id not in self.references:
            begun = max(0, len(self.shifts) - 1 - HISTORY)
            self.references[object_id] = Reference(Session(small_pico(), self.policy), begun)
            for shift in self.shifts[begun:]:
                self.references[object_id].session.step(frame(shift))
        self._prompt(object_id, back, data)

    @precondition(lambda self: self.references)
    @rule(back=BACK, data=st.data())
    def correct(self, back: int, data: st.DataObject) -> None:
        self._prompt(self._some(data), back, data)

    @precondition(lambda self: self.references)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        object_id = self._some(data)
        self.session.remove(object_id)
        del self.references[object_id]

    @precondition(lambda self: self.references)
    @rule(label=st.text(max_size=5), data=st.data())
    def relabel(self, label: str, data: st.DataObject) -> None:
        object_id = self._some(data)
        self.session.relabel(object_id, label)
        self.references[object_id].session.relabel(object_id, label)

    @precondition(lambda self: self.references)
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        object_id = self._some(data)
        self.session.reset(object_id)
        self.references[object_id].session.reset(object_id)

    @invariant()
    def ids_are_those_that_were_added(self) -> None:
        ids = tuple(sorted(self.references))
        assert self.session.object_ids == ids
        assert tuple(o.id for o in self.session.result().objects) == ids
        assert self.session.state.bank.rows == len(ids)

    @invariant()
    def every_object_is_as_if_it_were_alone(self) -> None:
        for obj in self.session.result().objects:
            reference = self.references[obj.id].session
            (alone,) = reference.result().objects
            assert obj.label == alone.label
            assert abs(obj.score - alone.score) < DOUBT
            if all(abs(obj.score - edge) > DOUBT for edge in (0.5, POLICY.appear_score)):
                assert obj.state == alone.state
                assert_alike(obj, alone)

    @invariant()
    def nothing_is_larger_than_its_bound(self) -> None:
        session = self.session
        assert len(session.state.history) <= 1 + HISTORY
        capacity = max(2, 4 * max(1, len(self.references)))
        assert session.state.bank.nbytes <= capacity * session.state.bank.shape.bytes_per_object
        for obj in session.state.objects.rows:
            assert len(obj.outputs) <= 1 + HISTORY
            assert len(obj.prompts) <= 1 + HISTORY
            assert len(obj.given) <= 1 + HISTORY
            assert len(obj.areas) <= 1 + HISTORY + AREAS

    def _prompt(self, object_id: int, back: int, data: st.DataObject) -> None:
        step = max(0, len(self.shifts) - 1 - back)
        prompt = Prompt(object_id, **data.draw(prompts(self.shifts[step])))
        reference = self.references[object_id]
        ours = self.session.prompt(prompt, step)
        alone = reference.session.prompt(prompt, step - reference.begun)
        assert (ours.step, ours.caught_up) == (step, alone.caught_up)

    def _some(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.references)))


class CommandsWithDistractors(Commands):
    """Every fifth frame is a distractor memory, so that they come and go."""

    policy = replace(POLICY, keep_memories="distractors")

    def __init__(self) -> None:
        super().__init__()
        self.patches = (
            patch.object(
                candidates, "find_distractors", lambda _, iou: torch.ones(len(iou)).bool()
            ),
            patch.multiple(distractor, MIN_IOU=0.0, is_steady=lambda area, before: True),
        )
        for one in self.patches:
            one.start()

    @rule(shift=SHIFTS)
    def stand_still(self, shift: int) -> None:
        """Long enough for a distractor memory to be no longer a recent one."""
        for _ in range(6):
            self.step(shift)

    def teardown(self) -> None:
        for one in self.patches:
            one.stop()


def assert_alike(ours: ObjectResult, alone: ObjectResult) -> None:
    """The same mask but for pixels on its edge, which the order of sums may turn."""
    assert ours.mask_hw.shape == (HEIGHT, WIDTH)
    different = (ours.mask_hw != alone.mask_hw).sum()
    assert different <= max(2, 0.002 * ours.mask_hw.sum())


TestCommands = Commands.TestCase
TestCommands.settings = settings(
    max_examples=12,
    stateful_step_count=14,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestCommandsWithDistractors = CommandsWithDistractors.TestCase
TestCommandsWithDistractors.settings = settings(TestCommands.settings, max_examples=4)
pytestmark = pytest.mark.slow
