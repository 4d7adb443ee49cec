"""Tracked objects: their outputs, prompts and states; memories are in the bank."""

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray

from tracker.engine.gallery import Gallery
from tracker.engine.memory_policy import AREAS
from tracker.engine.visibility import Presence
from tracker.errors import PromptError
from tracker.models.base import Decoded
from tracker.types import ObjectResult, Prompt


@dataclass(frozen=True, slots=True)
class Output:
    """The decoded mask of one object on one step."""

    step: int
    decoded: Decoded


@dataclass(slots=True, eq=False)
class TrackedObject:
    """One object.

    Attributes:
        id: Public id.
        label: Its name.
        born_step: The step of its first prompt; None while it awaits one after a reset.
        outputs: Its newest outputs, as many as the history holds.
        prompts: Clicks and boxes by step, within the history.
        given: Steps within the history whose mask was prompted without regard to memory.
        areas: Low-resolution pixels of its mask by step, where it was there: those of the history
            and `AREAS` before. Empty unless the policy keeps distractor memories.
        presence: Its state.
        gallery: How it looked when it was surely seen; empty unless the policy keeps galleries.
        identity: How sure it is that its newest mask is still of it, 0..1; None without a mask or
            a gallery.
        doubted: Frames in a row, up to the newest, on which that was unlikely.
        result: Its result on the newest frame, None until it is asked for.
        replay_from: Step from which it is still to be tracked again; None where it is up to date.
    """

    id: int
    label: str | None
    born_step: int | None
    outputs: deque[Output]
    prompts: dict[int, Prompt] = field(default_factory=dict)
    given: set[int] = field(default_factory=set)
    areas: dict[int, int] = field(default_factory=dict)
    presence: Presence = field(default_factory=Presence)
    gallery: Gallery = field(default_factory=Gallery)
    identity: float | None = None
    doubted: int = 0
    result: ObjectResult | None = None
    replay_from: int | None = None

    @property
    def tracked_step(self) -> int:
        """The step of its newest output, -1 before the first."""
        return self.outputs[-1].step if self.outputs else -1

    def is_fresh(self, step: int) -> bool:
        """True if what is known of it is of a step; one that nobody has shown is never stale."""
        if self.born_step is None:
            return True
        return self.tracked_step == step and self.replay_from is None

    def output_at(self, step: int) -> Decoded | None:
        """Output of a step of the history; None where the object was not there yet."""
        return next((o.decoded for o in reversed(self.outputs) if o.step == step), None)

    def output_before(self, step: int) -> Decoded | None:
        """The last output before a step; None where that is not known."""
        return next((o.decoded for o in reversed(self.outputs) if o.step < step), None)

    def put(self, step: int, decoded: Decoded) -> None:
        """Keep the output of a step, in place of one that it had; steps stay in order."""
        later = []
        while self.outputs and self.outputs[-1].step >= step:
            output = self.outputs.pop()
            if output.step > step:
                later.append(output)
        self.outputs.append(Output(step, decoded))
        self.outputs.extend(reversed(later))
        self.result = None

    def resize_outputs(self, side: int) -> None:
        """Forget all outputs but the newest, and have its mask at another size."""
        if not self.outputs:
            return
        newest = self.outputs[-1]
        logits_11ss = F.interpolate(
            newest.decoded.logits_n1ss, (side, side), mode="bilinear", align_corners=False
        )
        self.outputs.clear()
        decoded = replace(newest.decoded, logits_n1ss=logits_11ss)
        self.outputs.append(Output(newest.step, decoded))

    def put_area(self, step: int, area: int) -> None:
        """Keep the area of a step, in place of one that it had; 0 says that it was not there."""
        self.areas.pop(step, None)
        if area:
            self.areas[step] = area

    def areas_before(self, step: int) -> list[int]:
        """The newest `AREAS` areas before a step."""
        return [self.areas[s] for s in self._area_steps_before(step)]

    def _area_steps_before(self, step: int) -> list[int]:
        return sorted(s for s in self.areas if s < step)[-AREAS:]

    def forget_before(self, step: int) -> None:
        """Drop what is older than the history, which begins with a step."""
        oldest_area = min(self._area_steps_before(step), default=step)
        self.areas = {s: area for s, area in self.areas.items() if s >= oldest_area}
        self.prompts = {s: prompt for s, prompt in self.prompts.items() if s >= step}
        self.given = {s for s in self.given if s >= step}


class ObjectTable:
    """The objects by public id; an object's place in `rows` is its row in the memory bank."""

    def __init__(self) -> None:
        self.rows: list[TrackedObject] = []
        self._row_of_id: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, object_id: int) -> int | None:
        """The row of an id, None for an unknown one."""
        return self._row_of_id.get(object_id)

    def get(self, object_id: int) -> TrackedObject:
        """The object of an id.

        Raises:
            PromptError: There is no such object.
        """
        row = self.row(object_id)
        if row is None:
            known = ", ".join(str(i) for i in self.ids) or "none"
            raise PromptError(f"there is no object {object_id}", f"tracked objects: {known}")
        return self.rows[row]

    @property
    def ids(self) -> tuple[int, ...]:
        """All ids, ascending."""
        return tuple(sorted(self._row_of_id))

    def rows_in_turn(self, limit: int | None) -> NDArray[np.int64]:
        """Rows of the objects to track next, ascending: `limit` whose turn was longest ago.

        Those that nobody has shown take no turn. None stands for all rows.
        """
        rows = np.arange(len(self.rows))
        if limit is None or limit >= len(rows):
            return rows
        shown = [row for row, obj in enumerate(self.rows) if obj.born_step is not None]
        shown.sort(key=lambda row: (self.rows[row].tracked_step, self.rows[row].id))
        return np.array(sorted(shown[:limit]), dtype=np.int64)

    def add(self, obj: TrackedObject) -> int:
        """Append an object and return its row."""
        self._row_of_id[obj.id] = len(self.rows)
        self.rows.append(obj)
        return len(self.rows) - 1

    def remove(self, object_id: int) -> int:
        """Drop an object and return the row that it had; the last one takes it."""
        row = self._row_of_id.pop(object_id)
        last = self.rows.pop()
        if row < len(self.rows):
            self.rows[row] = last
            self._row_of_id[last.id] = row
        return row
