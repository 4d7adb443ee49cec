"""The deadline controller on machines that are made up: it fits, settles, and climbs back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from tests.support.small_pico import small_pico
from tracker.daemon.sources.frame_rate_limiter import FrameRateLimiter
from tracker.daemon.tracking.quality import FORGET, QualityController, Spent, ladder
from tracker.engine import FULL, ComputeBudget
from tracker.models import load_model

BUDGET_S = 1 / 15
SIZE, MAPS = 416, 4


@dataclass(frozen=True)
class Machine:
    """What frames take: so much for the encoder and for each object at full quality."""

    encode_s: float
    object_s: float
    overhead_s: float = 0.0
    size_exponent: float = 2.0
    noise: float = 0.0

    def spend(self, budget: ComputeBudget, objects: int, random: np.random.Generator) -> Spent:
        part = ((budget.input_size or SIZE) / SIZE) ** self.size_exponent
        maps = MAPS if budget.memories is None else budget.memories
        tracked = min(objects, budget.objects_per_frame or objects)
        luck = 1 + self.noise * random.uniform(-1, 1)
        each_s = self.object_s * part * (10 + maps) / (10 + MAPS)
        objects_s = (self.overhead_s + each_s * tracked) * luck if tracked else 0.0
        return Spent(self.encode_s * part * luck, objects_s, 0.0, objects)


class Run:
    """A stream under the controller, frame by frame."""

    def __init__(self, levels: tuple[ComputeBudget, ...]) -> None:
        self.controller = QualityController(BUDGET_S, levels, size=SIZE, maps=MAPS)
        self.levels: list[int] = []
        self.total_s: list[float] = []
        self._random = np.random.default_rng(1)

    def go(self, machine: Machine, objects: int, frames: int) -> "Run":
        for _ in range(frames):
            self.levels.append(self.controller.level)
            spent = machine.spend(self.controller.budget, objects, self._random)
            self.total_s.append(spent.encode_s + spent.objects_s)
            self.controller.note(spent)
        return self

    def late(self, frames: int) -> float:
        """Share of the newest frames that were over the budget."""
        return float(np.mean(np.array(self.total_s[-frames:]) > BUDGET_S))

    def changes(self, frames: int) -> int:
        return sum(a != b for a, b in pairwise(self.levels[-frames:]))


@pytest.fixture(scope="module")
def levels() -> tuple[ComputeBudget, ...]:
    return ladder(load_model("pico", device="cpu", dtype="fp32"))


@pytest.fixture
def run(levels: tuple[ComputeBudget, ...]) -> Run:
    return Run(levels)


SLOW = Machine(encode_s=0.020, object_s=0.012)


@pytest.mark.slow
def test_the_ladder_gives_up_memories_then_turns_then_size(
    levels: tuple[ComputeBudget, ...],
) -> None:
    assert levels == (
        FULL,
        ComputeBudget(None, 2),
        ComputeBudget(None, 1),
        *(ComputeBudget(None, 1, objects) for objects in (16, 8, 4, 2, 1)),
        ComputeBudget(352, 1, 1),
        ComputeBudget(288, 1, 1),
    )


def test_a_model_of_one_size_keeps_it() -> None:
    assert {budget.input_size for budget in ladder(small_pico())} == {None}


def test_nothing_is_given_up_where_all_fits(run: Run) -> None:
    run.go(SLOW, objects=3, frames=300)
    assert set(run.levels) == {0}


def test_an_idle_stream_has_the_full_budget_again(run: Run) -> None:
    run.go(SLOW, objects=0, frames=50).go(SLOW, objects=20, frames=50)
    assert run.levels[-1] > 0
    run.go(SLOW, objects=0, frames=100)
    assert run.levels[49] == run.levels[-1] == 0


def test_one_late_frame_in_a_while_changes_nothing(run: Run) -> None:
    for _ in range(30):
        run.go(SLOW, objects=2, frames=9).go(replace(SLOW, object_s=0.2), objects=2, frames=1)
    assert set(run.levels) == {0}


def test_many_objects_are_tracked_in_time_within_a_second(run: Run) -> None:
    run.go(SLOW, objects=1, frames=60).go(SLOW, objects=32, frames=15)
    assert run.go(SLOW, objects=32, frames=200).late(200) < 0.05
    assert run.changes(150) <= 1


def test_it_gives_up_no_more_than_it_must(run: Run) -> None:
    run.go(Machine(encode_s=0.005, object_s=0.0125), objects=5, frames=200)
    assert run.levels[-1] == 2, "fewer memories do"


def test_it_climbs_back_to_the_full_budget_when_objects_leave(run: Run) -> None:
    for objects in (*range(1, 33), *range(31, 0, -1)):
        run.go(SLOW, objects, frames=10)
    assert max(run.levels) > 3
    run.go(SLOW, objects=1, frames=150)
    assert run.levels[-1] == 0
    assert run.late(500) < 0.05


@pytest.mark.parametrize("overhead_s", [0.0, 0.015])
@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0], ids=lambda e: f"size^{e:g}")
@pytest.mark.parametrize("objects", [2, 6, 9, 13, 20, 32])
def test_it_does_not_oscillate_whatever_a_level_really_costs(
    run: Run, objects: int, exponent: float, overhead_s: float
) -> None:
    machine = Machine(0.020, 0.012, overhead_s, exponent, noise=0.1)
    run.go(machine, objects, frames=600).go(machine, objects, frames=3000)
    assert run.changes(3000) <= 10, "two for each try of a level that fails"
    assert run.late(3000) < 0.2


def test_it_tries_again_when_the_machine_has_become_faster(run: Run) -> None:
    run.go(SLOW, objects=10, frames=300)
    assert run.levels[-1] > 0
    faster = replace(SLOW, object_s=0.002)
    assert run.go(faster, objects=10, frames=4 * FORGET).levels[-1] == 0


def test_what_failed_with_many_objects_is_tried_at_once_with_few(run: Run) -> None:
    """The machine was held up twice while there were many, so that even a turn of 2 failed."""
    machine = Machine(encode_s=0.020, object_s=0.005)
    held_up = replace(machine, overhead_s=0.080)
    for _ in range(2):
        run.go(machine, objects=32, frames=60).go(held_up, objects=32, frames=20)
    assert run.levels[-1] > 5
    assert run.go(machine, objects=1, frames=120).levels[-1] == 0


def test_where_nothing_fits_it_does_the_least_and_stays(
    run: Run, levels: tuple[ComputeBudget, ...]
) -> None:
    hopeless = Machine(encode_s=1.0, object_s=1.0)
    run.go(hopeless, objects=8, frames=100)
    assert run.levels[-1] == len(levels) - 1
    assert run.changes(80) == 0


def test_size_is_given_up_last(run: Run) -> None:
    run.go(SLOW, objects=32, frames=300)
    assert run.controller.budget.input_size is None, "turns do"
    run.go(replace(SLOW, encode_s=0.060), objects=32, frames=300)
    assert run.controller.budget.input_size is not None, "the encoder alone is nearly too slow"


def test_time_lost_to_others_is_made_up_for_as_far_as_it_can(run: Run) -> None:
    alone = SLOW.spend(FULL, 2, np.random.default_rng(0))
    for _ in range(20):
        run.controller.note(replace(alone, other_s=0.035))
    assert run.controller.level > 0


def test_a_late_frame_now_and_then_is_no_reason(run: Run) -> None:
    """As when prompts are applied between frames."""
    alone = SLOW.spend(FULL, 2, np.random.default_rng(0))
    for frame in range(100):
        run.controller.note(replace(alone, other_s=0.5 if frame % 5 == 0 else 0.0))
    assert run.controller.level == 0


def test_it_learns_what_tracking_costs_whatever_the_number(run: Run) -> None:
    """Then a few objects more at a time cost little, and are not left waiting."""
    machine = Machine(encode_s=0.030, object_s=0.0012, overhead_s=0.012)
    run.go(machine, objects=1, frames=100)
    for objects in range(2, 33):
        run.go(machine, objects, frames=10)
    run.go(machine, objects=32, frames=600)
    budget = run.controller.budget
    tracked = budget.objects_per_frame or 32
    assert run.late(300) < 0.05
    assert tracked == 16, "32 would take 72 ms"


def test_what_it_keeps_is_bounded(run: Run, levels: tuple[ComputeBudget, ...]) -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        run.go(SLOW, int(random.integers(0, 33)), frames=5)
    assert len(run.controller._failures) <= len(levels)
    assert len(run.controller._window) <= 10


@pytest.mark.parametrize("fps", [30.0, 25.0, 24.0, 50.0])
def test_frames_are_taken_evenly_at_the_pace_that_is_asked_for(fps: float) -> None:
    taken = taken_at(15.0, lambda i: i / fps, 600)
    assert len(taken) == pytest.approx(600 / fps * 15, abs=1)
    assert np.diff(taken).max() <= np.ceil(fps / 15) + 0.01


@pytest.mark.parametrize("fps", [5.0, 14.9, 15.0])
def test_all_frames_of_a_slower_source_are_taken(fps: float) -> None:
    random = np.random.default_rng(0)
    late_s = random.uniform(0, 0.01, 600)
    assert len(taken_at(15.0, lambda i: i / fps + late_s[i], 600)) >= 598


def test_a_break_is_not_made_up_for(run: Run) -> None:
    taken = taken_at(10.0, lambda i: i / 30 + (60 if i >= 30 else 0), 60)
    assert len(taken) <= 21


def taken_at(fps: float, time_s: Callable[[int], float], frames: int) -> list[int]:
    """Numbers of the frames that are taken, of frames that come at `time_s`."""
    thinner = FrameRateLimiter(fps)
    return [i for i in range(frames) if thinner.takes(time_s(i))]
