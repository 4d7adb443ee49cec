"""The memory bank: what it recalls, what it forgets, and that it stays as large as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tracker.engine.memory_bank import EMPTY, MemoryBank, MemoryShape

SHAPE = MemoryShape(
    prompted=3, recent=2, pointers=4, history=0, tokens=1, map_channels=1, pointer_channels=1
)


@pytest.fixture
def bank() -> MemoryBank:
    return MemoryBank(SHAPE, torch.device("cpu"))


def write(bank: MemoryBank, row: int, step: int, *, prompted: bool = False) -> None:
    """Remember the number of the step itself."""
    value = torch.full((1, 1, 1), float(step))
    if prompted:
        bank.write_prompted(row, step, value, value[0])
    else:
        bank.write(np.array([row]), step, value, value[0])


def recalled(bank: MemoryBank, row: int, step: int) -> tuple[list[int], list[int]]:
    memories = bank.recall(np.array([row]), step)
    maps, pointers = memories.maps_nkqm.flatten().tolist(), memories.pointers_npc.flatten().tolist()
    return [int(v) for v in maps], [int(v) for v in pointers]


def test_it_recalls_prompted_frames_then_recent_maps_and_pointers(bank: MemoryBank) -> None:
    row = bank.add()
    write(bank, row, 0, prompted=True)
    for step in range(1, 9):
        write(bank, row, step)
    maps, pointers = recalled(bank, row, 9)
    assert maps == [0, 7, 8], "the prompted map, then recent ones from old to new"
    assert pointers == [0, 8, 7, 6, 5], "the prompted pointer, then recent ones from new to old"


def test_ages_are_counted_from_the_step_that_recalls(bank: MemoryBank) -> None:
    row = bank.add()
    write(bank, row, 0, prompted=True)
    for step in range(1, 5):
        write(bank, row, step)
    memories = bank.recall(np.array([row]), 5)
    assert memories.pointer_age_np.tolist() == [[5.0, 1.0, 2.0, 3.0, 4.0]]
    assert memories.age_index_nk.tolist() == [[2, 1, 0]], "2 stands for prompted"


def test_a_correction_sees_all_that_came_before_its_own_frame(bank: MemoryBank) -> None:
    row = bank.add()
    write(bank, row, 0, prompted=True)
    for step in range(1, 7):
        write(bank, row, step)
    assert recalled(bank, row, 6) == ([0, 4, 5], [0, 5, 4, 3, 2])


def test_a_prompt_takes_its_frame_out_of_the_recent_ones(bank: MemoryBank) -> None:
    row = bank.add()
    write(bank, row, 0, prompted=True)
    write(bank, row, 1)
    write(bank, row, 2)
    write(bank, row, 2, prompted=True)
    assert recalled(bank, row, 3)[0] == [0, 2, 1]


def test_the_first_prompt_stays_and_the_newest_replace_the_oldest(bank: MemoryBank) -> None:
    row = bank.add()
    for step in (0, 10, 20, 30, 40):
        write(bank, row, step, prompted=True)
    assert sorted(recalled(bank, row, 50)[0]) == [0, 30, 40]


def test_prompting_a_frame_twice_keeps_it_once(bank: MemoryBank) -> None:
    row = bank.add()
    write(bank, row, 4, prompted=True)
    write(bank, row, 4, prompted=True)
    assert recalled(bank, row, 5)[0] == [4]


def test_removing_a_row_moves_the_last_one_into_its_place(bank: MemoryBank) -> None:
    for row, step in enumerate((1, 2, 3)):
        bank.add()
        write(bank, row, step, prompted=True)
    bank.remove(0)
    assert bank.rows == 2
    assert recalled(bank, 0, 9)[0] == [3]
    assert recalled(bank, 1, 9)[0] == [2]


def test_a_new_row_remembers_nothing_of_its_predecessor(bank: MemoryBank) -> None:
    write(bank, bank.add(), 1, prompted=True)
    bank.remove(0)
    row = bank.add()
    write(bank, row, 5, prompted=True)
    assert recalled(bank, row, 6)[0] == [5]


def batches(bank: MemoryBank, step: int, limit: int) -> list[list[list[int]]]:
    return [[group.tolist() for group in batch] for batch in bank.batches(step, limit)]


def test_objects_that_recall_alike_are_a_group(bank: MemoryBank) -> None:
    for row in range(3):
        bank.add()
        write(bank, row, 0, prompted=True)
    write(bank, 1, 1)
    assert batches(bank, 2, limit=16) == [[[0, 2], [1]]]
    assert batches(bank, 1, limit=16) == [[[0, 1, 2]]]


def test_a_batch_holds_groups_up_to_its_limit(bank: MemoryBank) -> None:
    for row in range(5):
        bank.add()
        write(bank, row, 0, prompted=True)
    assert batches(bank, 1, limit=2) == [[[0, 1]], [[2, 3]], [[4]]]
    write(bank, 1, 1)
    assert batches(bank, 2, limit=3) == [[[0, 2, 3]], [[4], [1]]]
    assert batches(bank, 2, limit=4) == [[[0, 2, 3, 4]], [[1]]]


def test_it_grows_with_objects_gives_back_and_never_grows_with_time(bank: MemoryBank) -> None:
    empty = bank.nbytes
    for row in range(8):
        bank.add()
        write(bank, row, 0, prompted=True)
    assert bank.nbytes == 8 * SHAPE.bytes_per_object
    for step in range(1, 200):
        bank.write(np.arange(8), step, torch.zeros(8, 1, 1), torch.zeros(8, 1))
    assert bank.nbytes == 8 * SHAPE.bytes_per_object
    for _ in range(8):
        bank.remove(0)
    assert bank.nbytes == empty


def test_a_step_that_is_not_worth_keeping_is_forgotten(bank: MemoryBank) -> None:
    row = bank.add()
    write(bank, row, 0, prompted=True)
    write(bank, row, 1)
    write(bank, row, 2)
    bank.forget(np.array([row]), 2)
    assert recalled(bank, row, 3) == ([0, 1], [0, 1])


def test_maps_are_looked_for_further_back_where_steps_were_not_kept() -> None:
    shape = replace(SHAPE, history=5)
    bank = MemoryBank(shape, torch.device("cpu"), reach=6)
    row = bank.add()
    write(bank, row, 0, prompted=True)
    for step in (1, 2, 3):
        write(bank, row, step)
    assert recalled(bank, row, 7)[0] == [0, 2, 3], "the two newest of those in reach"
    assert bank.recall(np.array([row]), 7).age_index_nk.tolist() == [[2, 1, 0]], "by order"
    assert recalled(bank, row, 9)[0] == [0, 3]


@pytest.fixture
def lasting() -> MemoryBank:
    return MemoryBank(replace(SHAPE, distractors=2), torch.device("cpu"))


def distractor(bank: MemoryBank, row: int, step: int) -> None:
    value = torch.full((1, 1, 1), float(step))
    bank.write_distractor(row, step, value, value[0])


def test_distractor_memories_come_between_prompted_and_recent_memories(lasting: MemoryBank) -> None:
    row = lasting.add()
    write(lasting, row, 0, prompted=True)
    for step in range(1, 12):
        write(lasting, row, step)
    distractor(lasting, row, 2)
    distractor(lasting, row, 5)
    assert recalled(lasting, row, 12) == ([0, 2, 5, 10, 11], [0, 2, 5, 11, 10, 9, 8])
    memories = lasting.recall(np.array([row]), 12)
    assert memories.age_index_nk.tolist() == [[2, 2, 2, 1, 0]], "as if prompted"
    assert memories.pointer_age_np.tolist() == [[12, 10, 7, 1, 2, 3, 4]]


def test_a_distractor_memory_is_not_recalled_twice_while_it_is_recent(lasting: MemoryBank) -> None:
    row = lasting.add()
    write(lasting, row, 0, prompted=True)
    for step in range(1, 7):
        write(lasting, row, step)
    distractor(lasting, row, 5)
    assert recalled(lasting, row, 5)[0] == [0, 4], "not before its time"
    assert recalled(lasting, row, 7) == ([0, 5, 6], [0, 6, 5, 4, 3])
    write(lasting, row, 7)
    assert recalled(lasting, row, 8) == ([0, 5, 6, 7], [0, 7, 6, 5, 4])


def test_the_newest_distractor_replaces_the_oldest(lasting: MemoryBank) -> None:
    row = lasting.add()
    write(lasting, row, 0, prompted=True)
    for step in (10, 20, 30):
        distractor(lasting, row, step)
    assert sorted(recalled(lasting, row, 99)[0]) == [0, 20, 30]
    assert lasting.newest_distractor(row) == 30


def test_distractor_memories_can_be_dropped_from_a_step_on(lasting: MemoryBank) -> None:
    for row in range(2):
        lasting.add()
        write(lasting, row, 0, prompted=True)
        distractor(lasting, row, 10)
        distractor(lasting, row, 20)
    lasting.drop_distractors(0, since=20)
    assert recalled(lasting, 0, 99) == ([0, 10], [0, 10])
    assert recalled(lasting, 1, 99) == ([0, 10, 20], [0, 10, 20])
    lasting.drop_distractors(0, since=5)
    assert recalled(lasting, 0, 99) == ([0], [0])
    assert lasting.newest_distractor(0) == EMPTY


def test_objects_with_as_many_distractor_memories_are_a_group(lasting: MemoryBank) -> None:
    for row in range(3):
        lasting.add()
        write(lasting, row, 0, prompted=True)
    distractor(lasting, 0, 3)
    distractor(lasting, 2, 4)
    assert batches(lasting, 50, limit=16) == [[[1], [0, 2]]]
    memories = lasting.recall(np.array([0, 2]), 50)
    assert memories.maps_nkqm.flatten(1).tolist() == [[0, 3], [0, 4]]


def test_clear_and_remove_take_the_distractor_memories_along(lasting: MemoryBank) -> None:
    for row, step in enumerate((1, 2, 3)):
        lasting.add()
        write(lasting, row, 0, prompted=True)
        distractor(lasting, row, step)
    lasting.remove(0)
    assert recalled(lasting, 0, 99)[0] == [0, 3]
    lasting.clear(0)
    write(lasting, 0, 50, prompted=True)
    assert recalled(lasting, 0, 99)[0] == [50]


def test_distractor_memories_cost_a_map_and_a_pointer_each_and_nothing_without_them(
    lasting: MemoryBank,
) -> None:
    assert lasting.shape.bytes_per_object == SHAPE.bytes_per_object + 2 * (2 + 4)
    assert lasting.nbytes == 2 * lasting.shape.bytes_per_object
