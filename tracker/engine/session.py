"""A tracking session: frames and prompts in, masks of every object out."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.engine import network
from tracker.engine.masks import confine, fill_holes, input_mask, mask_box, source_masks
from tracker.engine.memory import MemoryBank, MemoryShape, Rows
from tracker.engine.network import Clicks, Decoded, Features
from tracker.engine.policy import Policy
from tracker.engine.preprocess import image_tensor
from tracker.errors import PromptError, UsageError
from tracker.models import Model
from tracker.types import ObjectResult, ObjectState, Prompt, StageTimes, TrackResult

BOX_CORNER_LABELS = (2, 3)


@dataclass(slots=True, eq=False)
class _Object:
    """One tracked object; its place in the session's list is its row in the memory bank."""

    id: int
    label: str | None
    born_step: int
    latest: Decoded
    clicked_step: int = -1
    clicks: list[tuple[float, float, int]] = field(default_factory=list)
    result: ObjectResult | None = None


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest frame: what prompts are applied to."""

    step: int
    height: int
    width: int
    features: Features
    times: StageTimes


class Session:
    """Tracks objects through a stream, frame by frame, in memory that does not grow.

    `step` takes the next frame and tracks every object on it; `prompt` adds or corrects an object
    on the newest frame; `result` says how all objects stand there. Steps are counted by frames
    given, so a frame that a live source dropped is no gap in time to the model.
    """

    def __init__(self, model: Model, policy: Policy | None = None) -> None:
        self.model = model
        self.policy = policy or Policy()
        shape = MemoryShape.of(model.network, self.policy.max_prompted_memories)
        self.bank = MemoryBank(shape, model.device)
        self._objects: list[_Object] = []
        self._newest: _Newest | None = None

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Public ids of the tracked objects, ascending."""
        return tuple(sorted(obj.id for obj in self._objects))

    def step(self, image_hwc: NDArray[np.uint8]) -> TrackResult:
        """Encode the next frame and track every object on it.

        Args:
            image_hwc: RGB uint8 [H, W, 3]; its size may differ from the frame's before.

        Raises:
            UsageError: The array is not an RGB image.
        """
        if image_hwc.ndim != 3 or image_hwc.shape[2] != 3 or image_hwc.dtype != np.uint8:
            raise UsageError(
                f"frame is {image_hwc.dtype} {list(image_hwc.shape)}", "give RGB uint8 [H, W, 3]"
            )
        step = 0 if self._newest is None else self._newest.step + 1
        height, width = image_hwc.shape[:2]
        with self._inference():
            start = time.perf_counter()
            image = image_tensor(image_hwc, self.model.input).to(self.model.device)
            features = network.encode_image(self.model.network, image)
            encoded = time.perf_counter()
            for rows in self.bank.batches(step, self.policy.batch_objects):
                self._track(rows, step, features)
            times = StageTimes(encoded - start, time.perf_counter() - encoded)
        self._newest = _Newest(step, height, width, features, times)
        return self.result()

    def prompt(self, prompt: Prompt) -> ObjectResult:
        """Apply a prompt to the newest frame and return the object as it then stands.

        A new id adds an object. For a known one, clicks correct the mask that it has there; clicks
        after clicks on the same frame add to them, while a box or a mask starts afresh.

        Raises:
            PromptError: There is no frame yet, the prompt does not fit it, or the session is full.
                Nothing has changed then.
        """
        newest = self._newest
        if newest is None:
            raise PromptError(
                f"prompt for object {prompt.object_id}: no frame yet", "give the session a frame"
            )
        prompt.validate(newest.height, newest.width)
        row = self._row_of(prompt.object_id)
        if row is None and len(self._objects) >= self.policy.max_objects:
            raise PromptError(
                f"object {prompt.object_id}: the session already tracks {self.policy.max_objects}",
                "remove one first, or raise max_objects",
            )
        known = None if row is None else self._objects[row]
        clicks = self._clicks(prompt, known, newest.step)
        with self._inference():
            decoded = self._decode_prompt(prompt, clicks, row, newest)
            memory_1qm = network.memorise(
                self.model.network, newest.features, decoded, from_prompt=True
            )
            obj = known or self._add(prompt.object_id, newest.step, decoded)
            self._write_prompted(obj, newest.step, memory_1qm, decoded)
        obj.latest, obj.result = decoded, None
        obj.clicks, obj.clicked_step = clicks, newest.step
        obj.label = obj.label if prompt.label is None else prompt.label
        self._refresh([obj], newest)
        assert obj.result is not None
        return obj.result

    def result(self) -> TrackResult:
        """All objects on the newest frame, prompts applied since included.

        Raises:
            UsageError: There is no frame yet.
        """
        newest = self._newest
        if newest is None:
            raise UsageError("the session has no frame yet", "give it one with step()")
        self._refresh([obj for obj in self._objects if obj.result is None], newest)
        results = sorted((o.result for o in self._objects if o.result), key=lambda r: r.id)
        return TrackResult(newest.step, tuple(results), newest.times)

    def remove(self, object_id: int) -> None:
        """Forget an object; the others are untouched.

        Raises:
            PromptError: There is no such object.
        """
        row = self._row_of(object_id)
        if row is None:
            known = ", ".join(str(i) for i in self.object_ids) or "none"
            raise PromptError(f"no object {object_id} to remove", f"tracked objects: {known}")
        with self._inference():
            self.bank.remove(row)
        last = self._objects.pop()
        if row < len(self._objects):
            self._objects[row] = last

    @contextmanager
    def _inference(self) -> Iterator[None]:
        half = self.model.dtype == torch.bfloat16
        with (
            torch.inference_mode(),
            torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=half),
        ):
            yield

    def _row_of(self, object_id: int) -> int | None:
        return next((row for row, obj in enumerate(self._objects) if obj.id == object_id), None)

    def _track(self, rows: Rows, step: int, features: Features) -> None:
        """Track a batch of objects on a new frame, in one pass."""
        net = self.model.network
        conditioned_nchw = network.condition(net, features, self.bank.recall(rows, step))
        three_masks = network.wants_three_masks(net, first=False, clicks=0)
        decoded = network.decode(net, features, conditioned_nchw, three_masks=three_masks)
        memory_nqm = network.memorise(net, features, decoded, from_prompt=False)
        self.bank.write(rows, step, memory_nqm, decoded.pointers_nc)
        logits_n1ss = fill_holes(decoded.logits_n1ss, self.policy.fill_hole_area)
        for i, row in enumerate(rows):
            obj = self._objects[row]
            one = slice(i, i + 1)
            obj.latest = Decoded(
                logits_n1ss[one],
                decoded.presence_n1[one],
                decoded.iou_n[one],
                decoded.pointers_nc[one],
            )
            obj.result = None

    def _clicks(
        self, prompt: Prompt, known: _Object | None, step: int
    ) -> list[tuple[float, float, int]]:
        """All clicks on the object on this frame, box corners first, in source pixels."""
        points = zip(prompt.points_xy, prompt.point_labels, strict=True)
        new = [(x, y, label) for (x, y), label in points]
        if prompt.box_xyxy is not None:
            x0, y0, x1, y1 = prompt.box_xyxy
            first, second = BOX_CORNER_LABELS
            new = [(x0, y0, first), (x1, y1, second), *new]
        elif prompt.mask_hw is None and known is not None and known.clicked_step == step:
            new = known.clicks + new
        if len(new) > self.policy.max_points:
            raise PromptError(
                f"object {prompt.object_id} has {len(new)} clicks on one frame",
                f"use at most {self.policy.max_points}; a mask says more",
            )
        return new

    def _decode_prompt(
        self,
        prompt: Prompt,
        clicks: list[tuple[float, float, int]],
        row: int | None,
        newest: _Newest,
    ) -> Decoded:
        """The prompted mask, as sam2's `add_new_points_or_box` and `add_new_mask`."""
        net, device, size = self.model.network, self.model.device, self.model.input.size
        known = None if row is None else self._objects[row]
        if prompt.mask_hw is not None:
            mask_11ss = input_mask(prompt.mask_hw, size, device)
            decoded = network.adopt_mask(net, newest.features, mask_11ss)
        else:
            first = known is None or known.born_step == newest.step
            if row is None or first:
                conditioned_1chw = network.without_memory(net, newest.features)
            else:
                memories = self.bank.recall(np.array([row]), newest.step)
                conditioned_1chw = network.condition(net, newest.features, memories)
            decoded = network.decode(
                net,
                newest.features,
                conditioned_1chw,
                three_masks=network.wants_three_masks(net, first=first, clicks=len(clicks)),
                clicks=self._input_clicks(clicks, newest),
                previous_n1ss=None if known is None else known.latest.logits_n1ss,
            )
        logits = fill_holes(decoded.logits_n1ss, self.policy.fill_hole_area)
        box_xyxy = _box_around(clicks)
        if self.policy.confine_to_box and box_xyxy is not None:
            x0, y0, x1, y1 = box_xyxy
            w, h = newest.width, newest.height
            logits = confine(logits, (x0 / w, y0 / h, x1 / w, y1 / h))
        return Decoded(logits, decoded.presence_n1, decoded.iou_n, decoded.pointers_nc)

    def _input_clicks(self, clicks: list[tuple[float, float, int]], newest: _Newest) -> Clicks:
        table_k3 = torch.tensor(clicks, dtype=torch.float32, device=self.model.device)
        source = table_k3.new_tensor([newest.width, newest.height])
        coords_k2 = table_k3[:, :2] / source * self.model.input.size
        return Clicks(coords_k2[None], table_k3[None, :, 2].to(torch.int32))

    def _add(self, object_id: int, step: int, decoded: Decoded) -> _Object:
        self.bank.add()
        obj = _Object(object_id, None, born_step=step, latest=decoded)
        self._objects.append(obj)
        return obj

    def _write_prompted(
        self, obj: _Object, step: int, memory_1qm: torch.Tensor, decoded: Decoded
    ) -> None:
        row = self._objects.index(obj)
        if obj.born_step == step or self.policy.corrections_condition:
            self.bank.write_prompted(row, step, memory_1qm, decoded.pointers_nc)
        else:
            self.bank.write(np.array([row]), step, memory_1qm, decoded.pointers_nc)

    def _refresh(self, objects: list[_Object], newest: _Newest) -> None:
        """Make the results of objects whose masks changed."""
        limit = self.policy.batch_objects
        for start in range(0, len(objects), limit):
            batch = objects[start : start + limit]
            logits_n1ss = torch.cat([obj.latest.logits_n1ss for obj in batch])
            score_n = torch.cat([obj.latest.presence_n1[:, 0] for obj in batch]).sigmoid().tolist()
            iou_n = torch.cat([obj.latest.iou_n for obj in batch]).clamp(0, 1).tolist()
            masks_nhw = source_masks(logits_n1ss, newest.height, newest.width)
            for obj, mask_hw, score, iou in zip(batch, masks_nhw, score_n, iou_n, strict=True):
                box = mask_box(mask_hw)
                state = ObjectState.OCCLUDED if box is None else ObjectState.VISIBLE
                obj.result = ObjectResult(obj.id, obj.label, state, score, iou, box, mask_hw)


def _box_around(
    clicks: list[tuple[float, float, int]],
) -> tuple[float, float, float, float] | None:
    """The prompted box; None without one, or where a click puts the object outside it."""
    if len(clicks) < 2 or clicks[0][2] != BOX_CORNER_LABELS[0]:
        return None
    (x0, y0, _), (x1, y1, _) = clicks[:2]
    for x, y, label in clicks[2:]:
        if label == 1 and not (x0 <= x < x1 and y0 <= y < y1):
            return None
    return x0, y0, x1, y1
