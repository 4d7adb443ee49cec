"""What every object remembers, in preallocated rings: nothing here grows with time."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from tracker.engine.network import Memories

Rows: TypeAlias = NDArray[np.int64]

EMPTY = -(2**40)
FIRST_CAPACITY = 2
MAP_DTYPE = torch.bfloat16
POINTER_DTYPE = torch.float32


@dataclass(frozen=True, slots=True)
class MemoryShape:
    """How much one object remembers.

    Attributes:
        prompted: Frames with prompts that are kept.
        recent: Recent frames attended to.
        pointers: Recent object pointers attended to.
        tokens: Tokens of a memory map, (input / 16) squared.
        map_channels: Channels of a memory map.
        pointer_channels: Channels of an object pointer.
    """

    prompted: int
    recent: int
    pointers: int
    tokens: int
    map_channels: int
    pointer_channels: int

    @classmethod
    def of(cls, net: SAM2Base, prompted: int) -> "MemoryShape":
        """The shape that a network attends to, with room for `prompted` prompted frames."""
        return cls(
            prompted=prompted,
            recent=net.num_maskmem - 1,
            pointers=net.max_obj_ptrs_in_encoder - 1,
            tokens=net.sam_image_embedding_size**2,
            map_channels=net.mem_dim,
            pointer_channels=net.hidden_dim,
        )

    @property
    def bytes_per_object(self) -> int:
        """(prompted + recent + 1) maps in bf16 and (prompted + pointers + 1) pointers in fp32.

        The one more of each is the newest frame's own, which a correction on it replaces while it
        attends to all those before.
        """
        map_bytes = self.tokens * self.map_channels * MAP_DTYPE.itemsize
        pointer_bytes = self.pointer_channels * POINTER_DTYPE.itemsize
        return (self.prompted + self.recent + 1) * map_bytes + (
            self.prompted + self.pointers + 1
        ) * pointer_bytes


class MemoryBank:
    """The memories of all objects, one dense row each.

    Row r of every tensor belongs to the r-th object. A row has `prompted` slots, then a ring of
    recent slots in which the memory of step t lies at t modulo the ring's length; which step each
    slot holds is known on the host, so that recalling never waits for the device.
    """

    def __init__(self, shape: MemoryShape, device: torch.device) -> None:
        self.shape = shape
        self.rows = 0
        self._device = device
        self._allocate(FIRST_CAPACITY)

    def _allocate(self, capacity: int) -> None:
        s = self.shape
        map_slots, pointer_slots = s.prompted + s.recent + 1, s.prompted + s.pointers + 1
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
        row = self.rows
        self.rows += 1
        self._map_step[row] = EMPTY
        self._pointer_step[row] = EMPTY
        return row

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

    def write_prompted(self, row: int, step: int, maps_1qm: Tensor, pointers_1c: Tensor) -> None:
        """Remember a step as a prompted one: the first stays, the oldest of the rest gives way."""
        rows = np.array([row])
        for held, slot in zip(
            (self._map_step, self._pointer_step), self._recent_slots(step), strict=True
        ):
            if held[row, slot] == step:
                held[row, slot] = EMPTY
        slot = self._prompted_slot(row, step)
        self._store(rows, step, maps_1qm, pointers_1c, slot, slot)

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
        return s.prompted + step % (s.recent + 1), s.prompted + step % (s.pointers + 1)

    def _store(
        self, rows: Rows, step: int, maps: Tensor, pointers: Tensor, map_slot: int, ptr_slot: int
    ) -> None:
        index = torch.from_numpy(rows).to(self._device)
        self._maps[index, map_slot] = maps.to(MAP_DTYPE)
        self._pointers[index, ptr_slot] = pointers.to(POINTER_DTYPE)
        self._map_step[rows, map_slot] = step
        self._pointer_step[rows, ptr_slot] = step

    def batches(self, step: int, limit: int) -> list[Rows]:
        """All rows, in batches of at most `limit` that recall the same shapes at `step`."""
        maps, pointers = self._recalled(np.arange(self.rows), step)
        counts = np.stack([maps.sum(axis=1), pointers.sum(axis=1)], axis=1)
        batches = []
        for shape in np.unique(counts, axis=0):
            alike = np.flatnonzero((counts == shape).all(axis=1))
            batches += [alike[i : i + limit] for i in range(0, len(alike), limit)]
        return batches

    def recall(self, rows: Rows, step: int) -> Memories:
        """What rows of one batch attend to at `step`: prompted frames, then older to newer ones.

        Follows the choice of memories in sam2's `_prepare_memory_conditioned_features`.
        """
        s = self.shape
        has_map, has_pointer = self._recalled(rows, step)
        map_slots, map_ages, pointer_slots = self._candidates(step)
        map_choice = np.nonzero(has_map)[1].reshape(len(rows), -1)
        pointer_choice = np.nonzero(has_pointer)[1].reshape(len(rows), -1)
        pointer_slot = pointer_slots[pointer_choice]
        age = step - self._pointer_step[rows[:, None], pointer_slot]
        index = torch.from_numpy(rows[:, None]).to(self._device)

        def on_device(array: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(array).to(self._device)

        oldest_first = s.recent
        age_index = np.where(map_ages == 0, oldest_first, map_ages - 1)
        return Memories(
            maps_nkqm=self._maps[index, on_device(map_slots[map_choice])],
            age_index_nk=on_device(age_index[map_choice]),
            pointers_npc=self._pointers[index, on_device(pointer_slot)],
            pointer_age_np=on_device(age.astype(np.float32)),
        )

    def _candidates(self, step: int) -> tuple[Rows, Rows, Rows]:
        """Slots looked at for `step`, and the age of each map (0: prompted)."""
        s = self.shape
        prompted = np.arange(s.prompted)
        map_ages = np.arange(s.recent, 0, -1)
        pointer_ages = np.arange(1, s.pointers + 1)
        return (
            np.concatenate([prompted, s.prompted + (step - map_ages) % (s.recent + 1)]),
            np.concatenate([np.zeros_like(prompted), map_ages]),
            np.concatenate([prompted, s.prompted + (step - pointer_ages) % (s.pointers + 1)]),
        )

    def _recalled(self, rows: Rows, step: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which candidate maps and pointers each row holds, bool [n, candidates]."""
        s = self.shape
        map_slots, _, pointer_slots = self._candidates(step)
        map_step = self._map_step[rows[:, None], map_slots]
        pointer_step = self._pointer_step[rows[:, None], pointer_slots]
        has_map = (map_step != EMPTY) & (map_step < step)
        has_pointer = (pointer_step != EMPTY) & (pointer_step < step)
        has_map[:, s.prompted :] &= map_step[:, s.prompted :] >= step - s.recent
        has_pointer[:, s.prompted :] &= pointer_step[:, s.prompted :] >= step - s.pointers
        return has_map, has_pointer
