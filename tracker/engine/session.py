"""A tracking session: frames and prompts in, masks of every object out."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracker.engine import snapshot
from tracker.engine.budget import FULL, ComputeBudget
from tracker.engine.clicks import clicks_of
from tracker.engine.encode import encode, inference
from tracker.engine.lazy_features import LazyFeatures
from tracker.engine.memory_bank import MemoryBank, MemoryShape
from tracker.engine.object_update import ObjectUpdate
from tracker.engine.objects import Click, ObjectTable, Seen, TrackedObject
from tracker.engine.policy import Policy
from tracker.engine.prefetch import Helper, Prefetcher, sharing_threads
from tracker.engine.preprocess import resize_to_square
from tracker.engine.refine import COARSE_SIDE, GuidedFilter
from tracker.engine.results import publish
from tracker.engine.visibility import Presence
from tracker.errors import PromptError, UsageError
from tracker.models import Model, resized
from tracker.models.pico.memory_stride import with_whole_memories
from tracker.models.sam2.distractors import ANCHORS
from tracker.models.sam2.verbs import Features
from tracker.types import Prompt, Prompted, StageTimes, TrackResult

# How many steps back maps are looked for, where an object does not remember every step.
SURE_REACH = 16
TURNS_REACH = 32


class Session:
    """Tracks objects through a stream, frame by frame, in memory that does not grow.

    `step` takes the next frame and tracks every object on it; `prompt` adds or corrects an object,
    on the newest frame or on one of the history, from where the object is then tracked again;
    `result` says how all objects stand on the newest frame. A command for one object leaves the
    others as they are. Steps are counted by frames given, so a frame that a live source dropped
    is no gap in time to the model.

    Attributes:
        model: The model as it is used now: for pictures of the size of the newest effort.
        effort: What was spent on the newest frame, and is on prompts.
        helper: A second thread, for `look_ahead`.
    """

    def __init__(
        self,
        model: Model,
        policy: Policy | None = None,
        effort: ComputeBudget = FULL,
        *,
        helper: Helper | None = None,
    ) -> None:
        """Begin without frames and objects.

        Args:
            model: What tracks.
            policy: Limits and choices; None for the defaults.
            effort: As of a frame before, for a session that goes on.
            helper: A second thread, for `look_ahead`; sessions of one thread may share it.

        Raises:
            UsageError: The model takes no such input size.
        """
        self.policy = policy = policy or Policy()
        self.model = model = with_whole_memories(model) if policy.whole_memories else model
        self.effort = FULL
        self.helper = helper
        self._own_size = model.input.size
        reach = self._reach(FULL)
        shape = MemoryShape.of(
            model.network,
            prompted=policy.max_prompted_memories,
            history=max(policy.history_frames, reach or 0),
            anchors=ANCHORS if policy.keep_memories == "rivals" else 0,
        )
        self.bank = MemoryBank(shape, model.device, reach=reach)
        self.objects = ObjectTable()
        self.seen: deque[Seen] = deque(maxlen=policy.frames_held)
        self.guide: GuidedFilter | None = None  # of the newest frame
        self._ahead = Prefetcher()
        self._pos_1chw: Tensor | None = None
        self._adopt(effort)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Public ids of the tracked objects, ascending."""
        return self.objects.ids

    def step(self, image_hwc: NDArray[np.uint8], effort: ComputeBudget = FULL) -> TrackResult:
        """Track every object on the next frame, or those whose turn it is.

        With nothing to track the frame is not even encoded, until a prompt asks for it. Another
        input size than before ends the history: what objects remember is resampled, but frames
        before this one take no prompts any more.

        Args:
            image_hwc: RGB uint8 [H, W, 3]; its size may differ from the frame's before.
            effort: What to spend on it; it may differ from the frame's before, too.

        Raises:
            UsageError: The array is not an RGB image, or the model takes no such input size.
        """
        if image_hwc.ndim != 3 or image_hwc.shape[2] != 3 or image_hwc.dtype != np.uint8:
            raise UsageError(
                f"frame is {image_hwc.dtype} {list(image_hwc.shape)}", "give RGB uint8 [H, W, 3]"
            )
        with sharing_threads(self.helper) as settle:
            return self._step(image_hwc, effort, settle)

    @property
    def follows_edges(self) -> bool:
        """Whether masks are published by the edges of the picture, at this input size."""
        return self.policy.follow_edges and self.model.input.size // 4 <= COARSE_SIDE

    @property
    def looks_ahead(self) -> bool:
        """Whether `look_ahead` does anything.

        It does with a helper, on a CPU, in bf16 or with one thread, with objects, unless these take
        so long of late that the encoder's part is a small one.
        """
        helped = self.helper is not None and len(self.objects) > 0
        return helped and self._ahead.pays(self.model)

    def look_ahead(self, image_hwc: NDArray[np.uint8]) -> None:
        """Begin to encode the picture of the step after the next, to have both done sooner.

        Call it just before a step: the helper encodes the picture while that step tracks its own.
        Results are the same, bit for bit; so they are where another picture or input size
        comes after all. What goes wrong is raised by the step that is given this very array.

        Args:
            image_hwc: As for `step`; must not change until then.
        """
        if self.helper is not None and self.looks_ahead:
            self._ahead.begin(self.model, image_hwc, self.helper)

    def prompt(
        self,
        prompt: Prompt,
        step: int | None = None,
        *,
        pause: Callable[[], None] = lambda: None,
    ) -> Prompted:
        """Apply a prompt and return the object as it then stands on the newest frame.

        A new id adds an object. For a known one, clicks correct the mask that it has there; clicks
        after clicks on the same frame add to them, while a box or a mask starts afresh.

        Args:
            prompt: Where the object is.
            step: The step of the frame that the prompt was drawn on; None for the newest.
            pause: Called before the object is tracked again on each later frame, so that other
                sessions need not wait for all of them; must leave this one alone.

        Raises:
            PromptError: There is no frame yet, the frame is too old, the prompt does not fit it, or
                the session is full. Nothing has changed then.
        """
        seen = self._find(prompt.object_id, step)
        prompt.validate(seen.height, seen.width)
        row = self.objects.row(prompt.object_id)
        if row is None and len(self.objects) >= self.policy.max_objects:
            raise self._full(prompt.object_id)
        clicks = self._clicks(prompt, row, seen.step)
        with self._inference(), sharing_threads(self.helper) as settle:
            self._pass.prompt(prompt.object_id, seen, clicks, prompt.mask_hw)
            obj = self.objects.get(prompt.object_id)
            later = [newer for newer in self.seen if newer.step > seen.step]
            self._pass.replay(obj, later, settle, pause)
        self._trim_history()
        obj.label = obj.label if prompt.label is None else prompt.label
        obj.presence.prompt(obj.outputs[-1].decoded.presence_n1.sigmoid().item())
        obj.result = None
        newest = self.seen[-1]
        publish([obj], newest.step, newest.height, newest.width, self.guide, batch=1)
        assert obj.result is not None
        return Prompted(obj.result, seen.step, len(later))

    def result(self) -> TrackResult:
        """All objects on the newest frame, prompts applied since included.

        Raises:
            UsageError: There is no frame yet.
        """
        if not self.seen:
            raise UsageError("the session has no frame yet", "give it one with step()")
        newest, objects = self.seen[-1], self.objects.rows
        batch = self.policy.batch_objects
        publish(objects, newest.step, newest.height, newest.width, self.guide, batch=batch)
        results = sorted((o.result for o in objects if o.result), key=lambda r: r.id)
        return TrackResult(newest.step, tuple(results), newest.times)

    def remove(self, object_id: int) -> None:
        """Forget an object and give its memory back.

        Raises:
            PromptError: There is no such object.
        """
        self.objects.get(object_id)
        with self._inference():
            self.bank.remove(self.objects.remove(object_id))

    def relabel(self, object_id: int, label: str | None) -> None:
        """Rename an object.

        Raises:
            PromptError: There is no such object.
        """
        obj = self.objects.get(object_id)
        obj.label = label
        obj.result = None if obj.result is None else replace(obj.result, label=label)

    def reset(self, object_id: int) -> None:
        """Forget what an object looks like; it stays, lost, until it is prompted again.

        Raises:
            PromptError: There is no such object.
        """
        old = self.objects.get(object_id)
        row = self.objects.row(object_id)
        assert row is not None
        self.bank.clear(row)
        self.objects.rows[row] = self._unseen(object_id, old.label)

    def declare(self, object_id: int, label: str | None) -> None:
        """List an object that nobody has shown yet: it is lost until it is prompted.

        Raises:
            PromptError: The id is below 1 or taken, or the session is full.
        """
        if object_id < 1 or self.objects.row(object_id) is not None:
            raise PromptError(f"object id {object_id} is below 1 or taken", "choose another")
        if len(self.objects) >= self.policy.max_objects:
            raise self._full(object_id)
        self.objects.add(self._unseen(object_id, label))
        self.bank.add()

    def save(self, path: Path) -> None:
        """Write a snapshot to go on from; see `tracker.engine.snapshot`.

        Raises:
            SnapshotError: It cannot be written; what was at `path` is still there.
        """
        snapshot.save(self, path)

    @classmethod
    def load(
        cls,
        path: Path,
        model: Model,
        *,
        helper: Helper | None = None,
        data: bytes | None = None,
    ) -> "Session":
        """Go on from a snapshot, bit for bit, with the same weights.

        The history begins with the snapshot's own frame. With `data`, what the file holds, nothing
        is read.

        Raises:
            SnapshotError: It is missing, damaged, or of other weights.
        """
        session = snapshot.load(path, model, data)
        session.helper = helper
        return session

    def _step(
        self, image_hwc: NDArray[np.uint8], effort: ComputeBudget, settle: Callable[[], None]
    ) -> TrackResult:
        step = self.seen[-1].step + 1 if self.seen else 0
        start = time.perf_counter()
        self._adopt(effort)
        rows = self.objects.rows_in_turn(effort.objects_per_frame)
        batches = self.bank.batches(step, self.policy.batch_objects, rows)
        coming = self._ahead.take(self.model, image_hwc)
        if batches and coming is not None:
            view = LazyFeatures.of(self._placed(coming.features()))
            small_hwc = coming.small_hwc
        else:
            small_hwc, coming = resize_to_square(image_hwc, self.model.input), None
            view = LazyFeatures(small_hwc, self._encode)
        features = view.features if batches else None
        encoded = time.perf_counter()
        with self._inference():
            for groups in batches:
                assert features is not None
                self._pass.track(groups, step, features, settle)
            self._advance(step)
        ahead_s = 0.0 if coming is None else max(0.0, coming.encode_s - (encoded - start))
        track_s = time.perf_counter() - encoded
        times = StageTimes(ahead_s + encoded - start, track_s, ahead_s)
        if batches:
            self._ahead.note(times)
        height, width = image_hwc.shape[:2]
        self.seen.append(Seen(step, self.model.input.size, height, width, view, times))
        self.guide = GuidedFilter(small_hwc) if self.follows_edges else None
        self._trim_history()
        settle()
        return self.result()

    def _adopt(self, effort: ComputeBudget) -> None:
        """Spend another effort from now on."""
        if effort == self.effort:
            return
        size = self._own_size if effort.input_size is None else effort.input_size
        if size != self.model.input.size:
            self._resize(size)
        self.bank.recall_within(self._reach(effort), effort.memories)
        self.effort = effort

    def _resize(self, size: int) -> None:
        """Go on with pictures of another size, and with what is remembered fitted to it."""
        model = resized(self.model, size)
        newest = self.seen[-1].step if self.seen else 0
        with self._inference():
            self.bank = self.bank.resampled(MemoryShape.tokens_of(model.network), newest)
        for obj in self.objects.rows:
            obj.areas.clear()  # they are pixels of the size before
            obj.resize_outputs(size // 4)
        self.model, self._pos_1chw = model, None
        self._ahead.forget()

    def _reach(self, effort: ComputeBudget) -> int | None:
        """How many steps back recent maps are looked for; None for as many as there are maps."""
        reach = SURE_REACH if self.policy.keep_memories == "sure" else None
        if effort.objects_per_frame is None:
            return reach
        return TURNS_REACH

    @property
    def _pass(self) -> ObjectUpdate:
        return ObjectUpdate(self.model, self.policy, self.bank, self.objects)

    def _inference(self) -> AbstractContextManager[None]:
        return inference(self.model)

    def _full(self, object_id: int) -> PromptError:
        return PromptError(
            f"object {object_id}: the session already tracks {self.policy.max_objects}",
            "remove one first, or raise max_objects",
        )

    def _unseen(self, object_id: int, label: str | None) -> TrackedObject:
        blank = TrackedObject(object_id, label, None, deque(maxlen=self.policy.frames_held))
        blank.presence = Presence.lost(self.policy)
        return blank

    def _encode(self, small_hwc: NDArray[np.uint8]) -> Features:
        """The features of a squashed picture."""
        return self._placed(encode(self.model, small_hwc))

    def _placed(self, features: Features) -> Features:
        """Features with the one positional encoding that all share."""
        if self._pos_1chw is None:
            self._pos_1chw = features.pos_1chw
        return replace(features, pos_1chw=self._pos_1chw)

    def _trim_history(self) -> None:
        """Keep the history to one input size and within its bound in bytes.

        Its bound in frames keeps itself.
        """
        while self.seen[0].input_size != self.seen[-1].input_size:
            self.seen.popleft()
        held = sum(seen.view.nbytes for seen in self.seen)
        while len(self.seen) > 1 and held > self.policy.history_bytes:
            held -= self.seen.popleft().view.nbytes
        oldest = self.seen[0].step
        for obj in self.objects.rows:
            obj.forget_before(oldest)

    def _find(self, object_id: int, step: int | None) -> Seen:
        who = f"prompt for object {object_id}"
        if not self.seen:
            raise PromptError(f"{who}: no frame yet", "give the session a frame")
        newest, oldest = self.seen[-1].step, self.seen[0].step
        if step is None:
            return self.seen[-1]
        if step > newest:
            raise PromptError(f"{who}: step {step} is still to come", f"the newest is {newest}")
        if step < oldest:
            raise PromptError(
                f"{who}: step {step} is older than the history, which begins at {oldest}",
                "draw it on a newer frame, or raise history_frames",
            )
        return self.seen[step - oldest]

    def _advance(self, step: int) -> None:
        """Bring the states up to a new frame."""
        tracked = [o for o in self.objects.rows if o.outputs and o.outputs[-1].step == step]
        if tracked:
            presence_n1 = torch.cat([o.outputs[-1].decoded.presence_n1 for o in tracked])
            for obj, score in zip(tracked, presence_n1[:, 0].sigmoid().tolist(), strict=True):
                obj.presence.track(score, self.policy)
        for obj in self.objects.rows:
            obj.result = None

    def _clicks(self, prompt: Prompt, row: int | None, step: int) -> list[Click]:
        """All clicks on the object on a frame, in source pixels."""
        clicks = clicks_of(prompt)
        if prompt.box_xyxy is None and prompt.mask_hw is None and row is not None:
            clicks = self.objects.rows[row].clicks.get(step, []) + clicks
        if len(clicks) > self.policy.max_points:
            raise PromptError(
                f"object {prompt.object_id} has {len(clicks)} clicks on one frame",
                f"use at most {self.policy.max_points}; a mask says more",
            )
        return clicks
