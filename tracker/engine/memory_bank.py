"""Memory bank: maps and pointers of all objects in preallocated rings; it does not grow."""

from dataclasses import asdict, dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tracker.models.base import MAP_DTYPE, POINTER_DTYPE, Memories, MemorySpec
from tracker.models.transfer import to_device

Rows: TypeAlias = NDArray[np.int64]

EMPTY = -(2**40)
FIRST_CAPACITY = 2


@dataclass(frozen=True, slots=True)
class MemoryShape:
    """Size of one object's memories.

    Attributes:
        prompted: Frames with prompts that are kept.
        recent: Recent frames attended to.
        pointers: Recent object pointers attended to.
        history: Steps further back that are kept, for prompts on a past frame.
        tokens: Tokens of a memory map.
        map_channels: Channels of a memory map.
        pointer_channels: Channels of an object pointer.
        distractors: Frames kept because they show the object beside a distractor.
    """

    prompted: int
    recent: int
    pointers: int
    history: int
    tokens: int
    map_channels: int
    pointer_channels: int
    distractors: int = 0

    @classmethod
    def of(
        cls, spec: MemorySpec, *, prompted: int, history: int, distractors: int = 0
    ) -> "MemoryShape":
        """The shape that a model attends to, with room for lasting frames and a history."""
        return cls(prompted=prompted, history=history, distractors=distractors, **asdict(spec))

    @property
    def lasting(self) -> int:
        """Frames that do not fade with time: prompted ones and those with distractors."""
        return self.prompted + self.distractors

    @property
    def map_ring(self) -> int:
        """Recent maps held: those attended to, the newest step's own, and the history's.

        A correction replaces the newest step's own and attends to those before it.
        """
        return self.recent + 1 + self.history

    @property
    def pointer_ring(self) -> int:
        """Recent pointers held, likewise."""
        return self.pointers + 1 + self.history

    @property
    def recent_ring(self) -> int:
        """Newest steps of which something may be held as recent."""
        return max(self.map_ring, self.pointer_ring)

    @property
    def bytes_per_object(self) -> int:
        """(lasting + map_ring) maps in bf16 and (lasting + pointer_ring) pointers in fp32."""
        map_bytes = self.tokens * self.map_channels * MAP_DTYPE.itemsize
        pointer_bytes = self.pointer_channels * POINTER_DTYPE.itemsize
        maps, pointers = self.lasting + self.map_ring, self.lasting + self.pointer_ring
        return maps * map_bytes + pointers * pointer_bytes


class MemoryBank:
    """The memories of all objects, one dense row each.

    Row r of every tensor belongs to the r-th object. A row has `prompted` slots, `distractors`
    slots, then a ring of recent slots in which the memory of step t lies at t modulo the ring's
    length; which step each slot holds is known on the host, so that recalling never waits for the
    device.
    """

    def __init__(
        self, shape: MemoryShape, device: torch.device, *, reach: int | None = None
    ) -> None:
        """Make an empty bank.

        Args:
            shape: What an object remembers.
            device: Where the memories lie.
            reach: How many steps back recent maps are looked for; None for `shape.recent`, as the
                official predictor does. More serves where not every step is remembered.
        """
        self.shape = shape
        self.rows = 0
        self._device = device
        self.recall_within(reach)
        self._allocate(FIRST_CAPACITY)

    def recall_within(self, reach: int | None, maps: int | None = None) -> None:
        """Choose which recent maps are recalled from now on.

        Args:
            reach: How many steps back they are looked for; as in `__init__`.
            maps: The newest so many of those found; None for `shape.recent`, which is the most.
        """
        s = self.shape
        self._reach = s.recent if reach is None else min(reach, s.map_ring - 1)
        self._maps_recalled = s.recent if maps is None else min(maps, s.recent)

    def resampled(self, tokens: int, step: int) -> "MemoryBank":
        """A bank of maps of `tokens` tokens that recalls, at `step` or later, what this one does.

        Maps are interpolated as pictures; nothing else of a memory depends on their size.
        """
        bank = MemoryBank(replace(self.shape, tokens=tokens), self._device)
        bank.recall_within(self._reach, self._maps_recalled)
        held = self.tensors(step)
        bank.restore(held | {"maps": _resampled(held["maps"], tokens)}, step)
        return bank

    def _allocate(self, capacity: int) -> None:
        s = self.shape
        map_slots, pointer_slots = s.lasting + s.map_ring, s.lasting + s.pointer_ring
        self._maps = torch.zeros(
            (capacity, map_slots, s.tokens, s.map_channels), dtype=MAP_DTYPE, device=self._device
        )
        self._pointers = torch.zeros(
            (capacity, pointer_slots, s.pointer_channels), dtype=POINTER_DTYPE, device=self._device
        )
        self._map_step = np.full((capacity, map_slots), EMPTY, dtype=np.int64)
        self._pointer_step = np.full((capacity, pointer_slots), EMPTY, dtype=np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes held on the device, spare rows included."""
        return self._maps.nbytes + self._pointers.nbytes

    def add(self) -> int:
        """Make an empty row, the last one, and return its number."""
        if self.rows == len(self._map_step):
            self._resize(2 * self.rows)
        self.rows += 1
        self.clear(self.rows - 1)
        return self.rows - 1

    def clear(self, row: int) -> None:
        """Forget all that a row remembers."""
        self._map_step[row] = EMPTY
        self._pointer_step[row] = EMPTY

    def remove(self, row: int) -> None:
        """Drop a row; the last row takes its number. Memory is given back by halves."""
        last = self.rows - 1
        if row != last:
            self._maps[row] = self._maps[last]
            self._pointers[row] = self._pointers[last]
            self._map_step[row] = self._map_step[last]
            self._pointer_step[row] = self._pointer_step[last]
        self.rows = last
        if len(self._map_step) > FIRST_CAPACITY and self.rows <= len(self._map_step) // 4:
            self._resize(len(self._map_step) // 2)

    def _resize(self, capacity: int) -> None:
        n = self.rows
        maps, pointers = self._maps[:n], self._pointers[:n]
        map_step, pointer_step = self._map_step[:n], self._pointer_step[:n]
        self._allocate(capacity)
        self._maps[:n], self._pointers[:n] = maps, pointers
        self._map_step[:n], self._pointer_step[:n] = map_step, pointer_step

    def write(self, rows: Rows, step: int, maps_nqm: Tensor, pointers_nc: Tensor) -> None:
        """Remember a step as a recent one, in place of what its slots held."""
        self._store(rows, step, maps_nqm, pointers_nc, *self._recent_slots(step))

    def forget(self, rows: Rows, step: int) -> None:
        """Drop what rows remember of a step as a recent one, if they do."""
        map_slot, pointer_slot = self._recent_slots(step)
        self._map_step[rows[self._map_step[rows, map_slot] == step], map_slot] = EMPTY
        stale = rows[self._pointer_step[rows, pointer_slot] == step]
        self._pointer_step[stale, pointer_slot] = EMPTY

    def write_prompted(self, row: int, step: int, maps_1qm: Tensor, pointers_1c: Tensor) -> None:
        """Remember a step as a prompted one: the first stays, the oldest of the rest gives way."""
        rows = np.array([row])
        self.forget(rows, step)
        slot = self._prompted_slot(row, step)
        self._store(rows, step, maps_1qm, pointers_1c, slot, slot)

    def write_distractor(self, row: int, step: int, maps_1qm: Tensor, pointers_1c: Tensor) -> None:
        """Remember a step as one with a distractor, the newest, in place of the oldest."""
        slot = self.shape.prompted + int(self._distractor_steps(row).argmin())
        self._store(np.array([row]), step, maps_1qm, pointers_1c, slot, slot)

    def newest_distractor(self, row: int) -> int:
        """The step of a row's newest distractor memory, `EMPTY` if it has none."""
        return int(self._distractor_steps(row).max(initial=EMPTY))

    def drop_distractors(self, row: int, since: int) -> None:
        """Drop a row's distractor memories of a step and later ones."""
        slots = self.shape.prompted + np.flatnonzero(self._distractor_steps(row) >= since)
        self._map_step[row, slots] = EMPTY
        self._pointer_step[row, slots] = EMPTY

    def _distractor_steps(self, row: int) -> Rows:
        return self._map_step[row, self.shape.prompted : self.shape.lasting]

    def _prompted_slot(self, row: int, step: int) -> int:
        held = self._map_step[row, : self.shape.prompted]
        same = np.flatnonzero(held == step)
        if same.size:
            return int(same[0])
        if held[0] == EMPTY or held.size == 1:
            return 0
        return 1 + int(held[1:].argmin())

    def _recent_slots(self, step: int) -> tuple[int, int]:
        s = self.shape
        return s.lasting + step % s.map_ring, s.lasting + step % s.pointer_ring

    def _store(
        self, rows: Rows, step: int, maps: Tensor, pointers: Tensor, map_slot: int, ptr_slot: int
    ) -> None:
        index = self._on_device(rows)
        self._maps[index, map_slot] = maps.to(MAP_DTYPE)
        self._pointers[index, ptr_slot] = pointers.to(POINTER_DTYPE)
        self._map_step[rows, map_slot] = step
        self._pointer_step[rows, ptr_slot] = step

    def tensors(self, step: int) -> dict[str, Tensor]:
        """All that the rows may recall at `step` or later, for a snapshot; the rest is zeros."""
        n, (map_slots, pointer_slots) = self.rows, self._slots_from(step)
        maps, pointers = self._maps[:n, map_slots], self._pointers[:n, pointer_slots]
        map_step = self._map_step[:n, map_slots]
        pointer_step = self._pointer_step[:n, pointer_slots]
        self._clear_before(step - self._reach, map_step, maps)
        self._clear_before(step - self.shape.pointers, pointer_step, pointers)
        return {
            "maps": maps,
            "pointers": pointers,
            "map_step": torch.from_numpy(map_step),
            "pointer_step": torch.from_numpy(pointer_step),
        }

    def _clear_before(self, oldest: int, step_ns: Rows, memories_nsx: Tensor) -> None:
        """Empty recent slots of steps before the `oldest`; what is in empty ones becomes zeros."""
        recent = step_ns[:, self.shape.lasting :]
        recent[recent < oldest] = EMPTY
        memories_nsx[self._on_device(step_ns == EMPTY)] = 0

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Take over what `tensors` returned for `step`, of a bank of the same shape."""
        self.rows = len(tensors["maps"])
        self._allocate(max(FIRST_CAPACITY, 1 << max(0, self.rows - 1).bit_length()))
        n = self.rows
        maps, pointers = self._slots_from(step)
        self._maps[:n, maps] = tensors["maps"].to(self._device)
        self._pointers[:n, pointers] = tensors["pointers"].to(self._device)
        self._map_step[:n, maps] = tensors["map_step"].numpy()
        self._pointer_step[:n, pointers] = tensors["pointer_step"].numpy()

    def _slots_from(self, step: int) -> tuple[Rows, Rows]:
        """Map and pointer slots of all that `step` and later ones may recall."""
        s = self.shape
        lasting = np.arange(s.lasting)
        map_ages, pointer_ages = np.arange(self._reach + 1), np.arange(s.pointers + 1)
        return (
            np.concatenate([lasting, s.lasting + (step - map_ages) % s.map_ring]),
            np.concatenate([lasting, s.lasting + (step - pointer_ages) % s.pointer_ring]),
        )

    def batches(self, step: int, limit: int, rows: Rows | None = None) -> list[list[Rows]]:
        """Rows with memories, in batches of at most `limit` rows.

        A batch consists of groups of rows that recall as many memories as each other at `step`.

        Args:
            step: The step that recalls.
            limit: Rows in a batch.
            rows: Which ones, ascending; None for all.
        """
        rows = np.arange(self.rows) if rows is None else rows
        maps, pointers = self._recalled(rows, step)
        counts = np.stack([maps.sum(axis=1), pointers.sum(axis=1)], axis=1)
        groups = [
            rows[(counts == shape).all(axis=1)]
            for shape in np.unique(counts[counts[:, 0] > 0], axis=0)
        ]
        batches: list[list[Rows]] = []
        room = 0
        for group in groups:
            while len(group):
                if not room:
                    batches.append([])
                    room = limit
                batches[-1].append(group[:room])
                group, room = group[room:], room - len(group[:room])
        return batches

    def recall(self, rows: Rows, step: int) -> Memories:
        """Memories that rows of one batch attend to at `step`: lasting frames, then old to new.

        Follows the choice of memories in sam2's `_prepare_memory_conditioned_features`, which
        knows no distractor memories. One is recalled like a prompted frame, once it is no longer a
        recent one.
        """
        has_map, has_pointer = self._recalled(rows, step)
        map_slots, pointer_slots = self._candidates(step)
        map_slot = map_slots[np.nonzero(has_map)[1].reshape(len(rows), -1)]
        pointer_slot = pointer_slots[np.nonzero(has_pointer)[1].reshape(len(rows), -1)]
        pointer_age = step - self._pointer_step[rows[:, None], pointer_slot]
        index = self._on_device(rows[:, None])
        return Memories(
            maps_nkqm=self._maps[index, self._on_device(map_slot)],
            age_index_nk=self._on_device(self._age_index(rows, step, map_slot)),
            pointers_npc=self._pointers[index, self._on_device(pointer_slot)],
            pointer_age_np=self._on_device(pointer_age.astype(np.float32)),
        )

    def _on_device(self, array: NDArray[np.generic]) -> Tensor:
        return to_device(torch.from_numpy(array), self._device)

    def _age_index(self, rows: Rows, step: int, map_slot: Rows) -> Rows:
        """Row of the temporal encoding for each map: its age less one, the last row if lasting.

        The last row is that of frames to trust whatever their age, as distractor memories are.
        Beyond the ages that the network knows, maps count by their order instead.
        """
        s = self.shape
        recent = map_slot >= s.lasting
        if self._reach > s.recent:
            age = np.cumsum(recent[:, ::-1], axis=1, dtype=np.int64)[:, ::-1]
        else:
            age = step - self._map_step[rows[:, None], map_slot]
        return np.where(recent, age - 1, s.recent)

    def _candidates(self, step: int) -> tuple[Rows, Rows]:
        """Map and pointer slots looked at for `step`: lasting ones, then by age."""
        s = self.shape
        lasting = np.arange(s.lasting)
        map_ages = np.arange(self._reach, 0, -1)
        pointer_ages = np.arange(1, s.pointers + 1)
        return (
            np.concatenate([lasting, s.lasting + (step - map_ages) % s.map_ring]),
            np.concatenate([lasting, s.lasting + (step - pointer_ages) % s.pointer_ring]),
        )

    def _recalled(self, rows: Rows, step: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Candidate maps and pointers that each row holds, bool [n, candidates]."""
        s = self.shape
        map_slots, pointer_slots = self._candidates(step)
        map_step = self._map_step[rows[:, None], map_slots]
        pointer_step = self._pointer_step[rows[:, None], pointer_slots]
        has_map = (map_step != EMPTY) & (map_step < step)
        has_pointer = (pointer_step != EMPTY) & (pointer_step < step)
        distractors, recent = slice(s.prompted, s.lasting), slice(s.lasting, None)
        has_map[:, distractors] &= map_step[:, distractors] < step - self._reach
        has_pointer[:, distractors] &= pointer_step[:, distractors] < step - s.pointers
        has_map[:, recent] &= map_step[:, recent] >= step - self._reach
        has_pointer[:, recent] &= pointer_step[:, recent] >= step - s.pointers
        newer = np.cumsum(has_map[:, : s.lasting - 1 : -1], axis=1)[:, ::-1]
        has_map[:, recent] &= newer <= self._maps_recalled
        return has_map, has_pointer


def _resampled(maps_nkqm: Tensor, tokens: int) -> Tensor:
    """Square maps of q tokens as such of `tokens`, interpolated bilinearly."""
    n, k, q, m = maps_nkqm.shape
    before, after = round(q**0.5), round(tokens**0.5)
    grid = maps_nkqm.float().reshape(n * k, before, before, m).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (after, after), mode="bilinear", align_corners=False)
    return grid.permute(0, 2, 3, 1).reshape(n, k, tokens, m).to(maps_nkqm.dtype)
