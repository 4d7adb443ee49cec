"""Update of objects on one frame: tracked from memory, or prompted; and remembered."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from tracker.engine.clicks import box_of, input_clicks
from tracker.engine.history import HistoryFrame
from tracker.engine.masks import confine_to_box, fill_box, fill_holes, input_mask
from tracker.engine.memory_bank import MemoryBank, Rows
from tracker.engine.memory_policy import ObjectPast
from tracker.engine.objects import ObjectTable, Output, TrackedObject
from tracker.engine.policy import Policy
from tracker.engine.prefetch import Rebalance
from tracker.engine.prompt_raster import carry_over, rasterize_prompts
from tracker.engine.recognition import Recognition
from tracker.models import Model
from tracker.models.base import Decoded, Features
from tracker.types import Prompt


@dataclass(frozen=True, slots=True)
class ObjectUpdate:
    """One pass over one frame, for objects whose outputs and memories it writes.

    Attributes:
        model: The network.
        policy: Limits and choices.
        bank: Memories of the objects.
        objects: The objects.
    """

    model: Model
    policy: Policy
    bank: MemoryBank
    objects: ObjectTable

    def track(
        self,
        groups: Sequence[Rows],
        step: int,
        features: Features,
        rebalance: Rebalance,
    ) -> None:
        """Track a batch of objects on a frame, in one pass; those of a group recall alike."""
        network, rows = self.model.network, np.concatenate(groups)
        rebalance()
        memories = [self.bank.recall(group, step) for group in groups]
        conditioned_nchw = network.condition(features, memories)
        rebalance()
        decoded = network.decode(
            features,
            conditioned_nchw,
            previous_n1ss=self._carried_over(rows, step),
            shows_masks=self.policy.draw_prompts,
            want_distractors=self._keeps_distractors,
        )
        if (recognition := self._recognition) is not None:
            decoded = recognition.check(rows, step, features, decoded)
        rebalance()
        memory_nqm = network.encode_memory(features, decoded, from_prompt=False)
        kept = self.policy.memory.remembers(decoded)
        if kept.all():
            self.bank.write(rows, step, memory_nqm, decoded.pointers_nc)
        else:
            self.bank.write(rows[kept], step, memory_nqm[kept], decoded.pointers_nc[kept])
            self.bank.forget(rows[~kept], step)
        if self._keeps_distractors:
            self._write_distractors(rows, step, memory_nqm, decoded)
        filled = self._filled(decoded)
        for i, row in enumerate(rows):
            self.objects.rows[row].put(step, filled.row(i))

    def prompt(self, prompt: Prompt, frame: HistoryFrame) -> None:
        """Decode a prompt on a frame and remember it, for a new object or a known one."""
        network, row = self.model.network, self.objects.row(prompt.object_id)
        obj = None if row is None else self.objects.rows[row]
        first = obj is None or obj.born_step is None or frame.step <= obj.born_step
        if prompt.mask_hw is not None:
            mask_11ss = input_mask(prompt.mask_hw, self.model.input.size, self.model.device)
            decoded = self._filled(network.adopt_mask(frame.features, mask_11ss))
        else:
            decoded = self._decode_clicks(prompt, None if first else row, frame, obj)
        memory_1qm = network.encode_memory(frame.features, decoded, from_prompt=True)
        if obj is None or row is None:
            outputs = deque[Output](maxlen=self.policy.frames_held)
            obj = TrackedObject(prompt.object_id, None, frame.step, outputs)
            row = self.objects.add(obj)
            self.bank.add()
        if first:
            obj.born_step = frame.step
        if first or self.policy.corrections_condition:
            self.bank.write_prompted(row, frame.step, memory_1qm, decoded.pointers_nc)
        else:
            self.bank.write(np.array([row]), frame.step, memory_1qm, decoded.pointers_nc)
        self.bank.drop_distractors(row, since=frame.step)
        if self._keeps_distractors:
            obj.put_area(frame.step, decoded.areas()[0])
        if first or prompt.mask_hw is not None:
            obj.given.add(frame.step)
        obj.prompts[frame.step] = replace(prompt, mask_hw=None)
        obj.put(frame.step, decoded)
        if (recognition := self._recognition) is not None:
            recognition.learn(obj, frame.step, frame.features, decoded)

    def replay(self, obj: TrackedObject, frame: HistoryFrame, rebalance: Rebalance) -> None:
        """Track one object again on a past frame, a prompt on it included."""
        if frame.step in obj.given:
            return
        row = self.objects.row(obj.id)
        self.track([np.array([row])], frame.step, frame.features, rebalance)
        if frame.step in obj.prompts:
            self.prompt(obj.prompts[frame.step], frame)

    def _carried_over(self, rows: Rows, step: int) -> Tensor | None:
        """The last masks of objects before a step, [n, 1, s, s]; None for a network without use."""
        network = self.model.network
        if not (self.policy.draw_prompts and network.capabilities.follows_masks):
            return None
        last = [self.objects.rows[row].output_before(step) for row in rows]
        return carry_over(last, network.mask_side, self.model.device)

    @property
    def _recognition(self) -> Recognition | None:
        """Comparison with galleries; None where none are kept."""
        different = self.model.network.capabilities.look_distance
        if not self.policy.gallery_entries or different is None:
            return None
        return Recognition(self.policy, self.objects, different)

    @property
    def _keeps_distractors(self) -> bool:
        return self.policy.memory.distractor_memories > 0

    def _write_distractors(
        self, rows: Rows, step: int, memory_nqm: Tensor, decoded: Decoded
    ) -> None:
        """Remember the frame for long for those of the objects that the policy says."""
        objects = [self.objects.rows[row] for row in rows]
        pasts = [
            ObjectPast(obj.areas_before(step), step - self.bank.newest_distractor(row))
            for row, obj in zip(rows.tolist(), objects, strict=True)
        ]
        for i in np.flatnonzero(self.policy.memory.lasts(decoded, pasts)):
            one, pointers_1c = memory_nqm[i : i + 1], decoded.pointers_nc[i : i + 1]
            self.bank.write_distractor(int(rows[i]), step, one, pointers_1c)
        for obj, area in zip(objects, decoded.areas(), strict=True):
            obj.put_area(step, area)

    def _decode_clicks(
        self, prompt: Prompt, row: int | None, frame: HistoryFrame, obj: TrackedObject | None
    ) -> Decoded:
        """The mask of clicks on a frame, as sam2's `add_new_points_or_box`.

        `row` is None where the object's memory says nothing of the frame.
        """
        network, first = self.model.network, row is None
        memories = [] if row is None else [self.bank.recall(np.array([row]), frame.step)]
        conditioned_1chw = network.condition(frame.features, memories)
        before = None if obj is None else obj.output_at(frame.step)
        previous = None if before is None else before.logits_n1ss
        size = self.model.input.size
        table = input_clicks(prompt, frame.height, frame.width, size, self.model.device)
        if self.policy.draw_prompts and network.capabilities.draws_prompts:
            previous = rasterize_prompts(table, previous, size=size, side=network.mask_side)
        decoded = network.decode(
            frame.features,
            conditioned_1chw,
            first=first,
            clicks=table,
            previous_n1ss=previous,
            shows_masks=self.policy.draw_prompts,
            is_there=self.policy.believe_prompts,
        )
        decoded = self._filled(decoded)
        box = box_of(prompt, frame.height, frame.width)
        if box is None:
            return decoded
        logits = decoded.logits_n1ss
        if self.policy.believe_prompts:
            logits = fill_box(logits, box)
        if self.policy.confine_to_box:
            logits = confine_to_box(logits, box)
        return replace(decoded, logits_n1ss=logits)

    def _filled(self, decoded: Decoded) -> Decoded:
        logits = fill_holes(decoded.logits_n1ss, self.policy.fill_hole_area)
        return replace(decoded, logits_n1ss=logits)
