"""A tracking session: frames and prompts in, masks of every object out."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.engine import snapshot
from tracker.engine.budget import FULL, ComputeBudget
from tracker.engine.encode import encode, inference
from tracker.engine.history import HistoryFrame, LazyFeatures
from tracker.engine.masks import source_masks
from tracker.engine.object_update import ObjectUpdate
from tracker.engine.objects import TrackedObject
from tracker.engine.policy import Policy
from tracker.engine.prefetch import Helper, Prefetcher, Rebalance
from tracker.engine.redetection import Redetection
from tracker.engine.refine import GuidedFilter
from tracker.engine.results import publish
from tracker.engine.state import SessionState
from tracker.engine.visibility import Presence
from tracker.errors import PromptError, UsageError
from tracker.models import Model
from tracker.models.base import Features
from tracker.models.preprocess import resize_to_square
from tracker.types import ObjectState, Prompt, Prompted, StageTimes, TrackResult


class Session:
    """Tracks objects through a stream, frame by frame, in memory that does not grow.

    `step` takes the next frame and tracks every object on it; `prompt` adds or corrects an object,
    on the newest frame or on one of the history, from where the object is then tracked again;
    `result` says how all objects stand on the newest frame. A command for one object leaves the
    others as they are. Steps are counted by frames given, so a frame that a live source dropped
    is no gap in time to the model.

    Attributes:
        state: Objects, memories and history; what a snapshot keeps.
        helper: A second thread, for `prefetch`; sessions of one thread may share it.
    """

    def __init__(
        self,
        model: Model,
        policy: Policy | None = None,
        budget: ComputeBudget = FULL,
        *,
        helper: Helper | None = None,
    ) -> None:
        """Begin without frames and objects.

        Args:
            model: The network, ready to track.
            policy: Limits and choices; None for the defaults.
            budget: As of a frame before, for a session that goes on.
            helper: A second thread, for `prefetch`.

        Raises:
            UsageError: The model takes no such input size.
        """
        self._begin(SessionState.new(model, policy or Policy(), budget), helper)

    def _begin(self, state: SessionState, helper: Helper | None) -> None:
        self.state = state
        self.helper = helper
        self._prefetcher = Prefetcher()

    @property
    def model(self) -> Model:
        """The model as it is used now: for pictures of the size of the newest budget."""
        return self.state.model

    @property
    def policy(self) -> Policy:
        """Limits and choices."""
        return self.state.policy

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Public ids of the tracked objects, ascending."""
        return self.state.objects.ids

    @property
    def labels(self) -> dict[int, str | None]:
        """Labels of the tracked objects by id, ascending."""
        return {i: self.state.objects.get(i).label for i in self.object_ids}

    @property
    def object_states(self) -> dict[int, ObjectState]:
        """States of the tracked objects by id, ascending; known before the first frame too."""
        return {i: self.state.objects.get(i).presence.state for i in self.object_ids}

    @property
    def steps(self) -> range:
        """Steps of the frames that a prompt may be drawn on; empty before the first frame."""
        history = self.state.history
        return range(history[0].step, history[-1].step + 1) if history else range(0)

    @property
    def memory_bytes(self) -> int:
        """Bytes that the memories of all objects take on the device."""
        return self.state.bank.nbytes

    def click_count(self, prompt: Prompt, step: int) -> int:
        """Clicks that an object would have on the frame of a step, after a prompt."""
        return self._following(prompt, step).click_count

    def limit_objects(self, max_objects: int) -> None:
        """Refuse more objects than `max_objects` from now on; those that are there stay."""
        self.state.policy = replace(self.policy, max_objects=max_objects)

    def step(self, image_hwc: NDArray[np.uint8], budget: ComputeBudget = FULL) -> TrackResult:
        """Track every object on the next frame, or those whose turn it is.

        With nothing to track the frame is not even encoded, until a prompt asks for it. Another
        input size than before ends the history: what objects remember is resampled, but frames
        before this one take no prompts any more.

        Args:
            image_hwc: RGB uint8 [H, W, 3]; its size may differ from the frame's before.
            budget: What to spend on it; it may differ from the frame's before, too.

        Raises:
            UsageError: The array is not an RGB image, or the model takes no such input size.
        """
        if image_hwc.ndim != 3 or image_hwc.shape[2] != 3 or image_hwc.dtype != np.uint8:
            raise UsageError(
                f"frame is {image_hwc.dtype} {list(image_hwc.shape)}", "give RGB uint8 [H, W, 3]"
            )
        self._replay_all()
        with self._sharing_threads() as rebalance:
            return self._step(image_hwc, budget, rebalance)

    @property
    def prefetches(self) -> bool:
        """True if `prefetch` does anything.

        It does with a helper, on a CPU, in bf16 or with one thread, with objects, unless these take
        so long of late that the encoder's part is a small one.
        """
        if self.helper is None or not len(self.state.objects):
            return False
        return self._prefetcher.pays(self.model, self.helper)

    def prefetch(self, image_hwc: NDArray[np.uint8]) -> None:
        """Begin to encode the picture of the step after the next, to have both done sooner.

        Call it just before a step: the helper encodes the picture while that step tracks its own.
        Results are the same, bit for bit; so they are where another picture or input size
        comes after all. What goes wrong is raised by the step that is given this very array.

        Args:
            image_hwc: As for `step`; must not change until then.
        """
        if self.helper is not None and self.prefetches:
            self._prefetcher.begin(self.model, image_hwc, self.helper)

    def prompt(
        self,
        prompt: Prompt,
        step: int | None = None,
        *,
        replay: bool = True,
        pause: Callable[[], None] = lambda: None,
    ) -> Prompted:
        """Apply a prompt and return the object as it then stands on the newest frame.

        A new id adds an object. For a known one, clicks correct the mask that it has there; clicks
        after clicks on the same frame add to them, while a box or a mask starts afresh.

        Then the object is tracked again on the frames since. Without `replay` that is left to
        `replay_next`, and the object has no mask on the newest frame until it is done.

        Args:
            prompt: Where the object is.
            step: The step of the frame that the prompt was drawn on; None for the newest.
            replay: Track the object again on the frames since, now.
            pause: Called before the object is tracked again on each later frame, so that other
                sessions need not wait for all of them; must leave this one alone.

        Raises:
            PromptError: There is no frame yet, the frame is too old, the prompt does not fit it, or
                the session is full. Nothing has changed then.
        """
        state = self.state
        frame = state.frame_of(prompt.object_id, step)
        prompt.validate(frame.height, frame.width)
        if state.objects.row(prompt.object_id) is None:
            self._check_room(prompt.object_id)
        prompt = self._following(prompt, frame.step)
        if prompt.click_count > self.policy.max_points:
            raise PromptError(
                f"object {prompt.object_id} has {prompt.click_count} clicks on one frame",
                f"use at most {self.policy.max_points}; a mask says more",
            )
        with self._inference(), self._sharing_threads():
            self._update.prompt(prompt, frame)
        obj = state.objects.get(prompt.object_id)
        obj.label = obj.label if prompt.label is None else prompt.label
        self._begin_replay(obj, frame.step + 1)
        left = self._frames_behind(obj)
        while replay and obj.replay_from is not None:
            pause()
            self._replay(obj)
        self._publish([obj])
        assert obj.result is not None
        replayed = left if replay else 0
        return Prompted(obj.result, frame.step, replayed, left - replayed)

    @property
    def is_behind(self) -> bool:
        """True if `replay_next` has something to do."""
        return any(obj.replay_from is not None for obj in self.state.objects.rows)

    def replay_next(self) -> None:
        """Track an object whose replay was left for later on one frame more, if there is one.

        Commands may come in between; the next step and a snapshot do all that is left.
        """
        behind = (obj for obj in self.state.objects.rows if obj.replay_from is not None)
        if (obj := next(behind, None)) is not None:
            self._replay(obj)

    def result(self) -> TrackResult:
        """All objects on the newest frame, prompts applied since included.

        Raises:
            UsageError: There is no frame yet.
        """
        newest, objects = self.state.newest, self.state.objects.rows
        if newest is None:
            raise UsageError("the session has no frame yet", "give it one with step()")
        self._publish(objects)
        results = sorted((o.result for o in objects if o.result), key=lambda r: r.id)
        return TrackResult(newest.step, tuple(results), newest.times)

    def mask_on(self, object_id: int, step: int) -> NDArray[np.bool_]:
        """Mask [H, W] of an object on a frame of the history, not refined at its edges.

        It is empty where the object was not there yet, or is not visible.

        Raises:
            PromptError: There is no such object, or the frame is too old.
        """
        frame = self.state.frame_of(object_id, step)
        decoded = self.state.objects.get(object_id).output_at(step)
        if decoded is None:
            return np.zeros((frame.height, frame.width), np.bool_)
        mask_hw: NDArray[np.bool_] = source_masks(decoded.logits_n1ss, frame.height, frame.width)[0]
        return mask_hw

    def remove(self, object_id: int) -> None:
        """Forget an object and give its memory back.

        Raises:
            PromptError: There is no such object.
        """
        self.state.objects.get(object_id)
        with self._inference():
            self.state.bank.remove(self.state.objects.remove(object_id))

    def relabel(self, object_id: int, label: str | None) -> None:
        """Rename an object.

        Raises:
            PromptError: There is no such object.
        """
        obj = self.state.objects.get(object_id)
        obj.label = label
        obj.result = None if obj.result is None else replace(obj.result, label=label)

    def reset(self, object_id: int) -> None:
        """Forget what an object looks like; it stays, lost, until it is prompted again.

        Raises:
            PromptError: There is no such object.
        """
        old = self.state.objects.get(object_id)
        row = self.state.objects.row(object_id)
        assert row is not None
        self.state.bank.clear(row)
        self.state.objects.rows[row] = self._unprompted(object_id, old.label)

    def declare(self, object_id: int, label: str | None) -> None:
        """List an object that nobody has shown yet: it is lost until it is prompted.

        Raises:
            PromptError: The id is below 1 or taken, or the session is full.
        """
        if object_id < 1 or self.state.objects.row(object_id) is not None:
            raise PromptError(f"object id {object_id} is below 1 or taken", "choose another")
        self._check_room(object_id)
        self.state.objects.add(self._unprompted(object_id, label))
        self.state.bank.add()

    def to_bytes(self) -> bytes:
        """A snapshot, as the file that `load` reads."""
        self._replay_all()
        return snapshot.to_bytes(self.state)

    def save(self, path: Path) -> None:
        """Write a snapshot to go on from; see `tracker.engine.snapshot`.

        Raises:
            SnapshotError: It cannot be written; what was at `path` is still there.
        """
        self._replay_all()
        snapshot.save(self.state, path)

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
        session = cls.__new__(cls)
        session._begin(snapshot.load(path, model, data), helper)
        return session

    def _step(
        self, image_hwc: NDArray[np.uint8], budget: ComputeBudget, rebalance: Rebalance
    ) -> TrackResult:
        state = self.state
        step = 0 if state.newest is None else state.newest.step + 1
        start = time.perf_counter()
        self._spend(budget)
        rows = state.objects.rows_in_turn(budget.objects_per_frame)
        batches = state.bank.batches(step, self.policy.batch_objects, rows)
        prefetched = self._prefetcher.take(self.model, image_hwc)
        if batches and prefetched is not None:
            encoded = LazyFeatures.of(prefetched.features())
            small_hwc = prefetched.small_hwc
        else:
            small_hwc, prefetched = resize_to_square(image_hwc, self.model.input), None
            encoded = LazyFeatures(small_hwc, self._encode)
        features = encoded.features if batches else None
        encoded_s = time.perf_counter()
        with self._inference():
            for groups in batches:
                assert features is not None
                self._update.track(groups, step, features, rebalance)
            redetection = self._redetection
            if features is not None and redetection is not None:
                redetection.search(step, features)
            self._advance(step)
        ahead_s = 0.0
        if prefetched is not None:
            ahead_s = max(0.0, prefetched.encode_s - (encoded_s - start))
        track_s = time.perf_counter() - encoded_s
        times = StageTimes(ahead_s + encoded_s - start, track_s, ahead_s)
        if batches:
            self._prefetcher.note(times)
        height, width = image_hwc.shape[:2]
        state.history.append(
            HistoryFrame(step, self.model.input.size, height, width, encoded, times)
        )
        state.guide = (
            GuidedFilter(small_hwc, self.model.network.mask_side) if state.follows_edges else None
        )
        state.trim_history()
        rebalance()
        return self.result()

    def _spend(self, budget: ComputeBudget) -> None:
        """Spend another budget from now on; what was begun for pictures of another size goes."""
        before = self.model
        self.state.spend(budget)
        if self.model is not before:
            self._prefetcher.forget()

    @property
    def _update(self) -> ObjectUpdate:
        state = self.state
        return ObjectUpdate(state.model, state.policy, state.bank, state.objects)

    @property
    def _redetection(self) -> Redetection | None:
        """The search for missing objects; None without galleries, or where time is saved."""
        state, policy = self.state, self.policy
        different = state.model.network.capabilities.look_distance
        if not (policy.redetect and policy.gallery_entries and state.budget == FULL):
            return None
        if different is None:
            return None
        return Redetection(state.model, policy, state.bank, state.objects, different)

    def _inference(self) -> AbstractContextManager[None]:
        return inference(self.model)

    def _sharing_threads(self) -> AbstractContextManager[Rebalance]:
        return nullcontext(lambda: None) if self.helper is None else self.helper.sharing_threads()

    def _begin_replay(self, obj: TrackedObject, step: int) -> None:
        """Have an object tracked again from a step on, if there is a frame of it."""
        steps = [step] if obj.replay_from is None else [step, obj.replay_from]
        obj.replay_from = min(steps)
        self._end_replay(obj)

    def _replay(self, obj: TrackedObject) -> None:
        """Track an object again on the next frame that it lacks; it goes on as it is on failure."""
        assert obj.replay_from is not None
        try:
            frame = self.state.frame_of(obj.id, obj.replay_from)
            with self._inference(), self._sharing_threads() as rebalance:
                self._update.replay(obj, frame, rebalance)
        except BaseException:
            obj.replay_from = None
            raise
        obj.replay_from = frame.step + 1
        self._end_replay(obj)

    def _end_replay(self, obj: TrackedObject) -> None:
        """Take in how an object is, once there is no frame left that it lacks.

        Frames that another object still lacks stay until it has them.
        """
        obj.result = None
        if not self._frames_behind(obj):
            obj.replay_from = None
            if not self.is_behind:
                self.state.trim_history()
        obj.presence.prompt(obj.outputs[-1].decoded.presence_n1.sigmoid().item())

    def _frames_behind(self, obj: TrackedObject) -> int:
        """Frames on which an object is still to be tracked again."""
        newest = self.state.newest
        assert newest is not None
        return 0 if obj.replay_from is None else newest.step + 1 - obj.replay_from

    def _replay_all(self) -> None:
        while self.is_behind:
            self.replay_next()

    def _publish(self, objects: list[TrackedObject]) -> None:
        """Fill in the missing results of objects on the newest frame."""
        newest = self.state.newest
        assert newest is not None
        publish(
            objects,
            newest.step,
            newest.height,
            newest.width,
            self.state.guide,
            batch=self.policy.batch_objects,
        )

    def _check_room(self, object_id: int) -> None:
        if len(self.state.objects) >= self.policy.max_objects:
            raise PromptError(
                f"object {object_id}: the session already tracks {self.policy.max_objects}",
                "remove one first, or raise max_objects",
            )

    def _unprompted(self, object_id: int, label: str | None) -> TrackedObject:
        blank = TrackedObject(object_id, label, None, deque(maxlen=self.policy.frames_held))
        blank.presence = Presence.lost(self.policy)
        return blank

    def _encode(self, small_hwc: NDArray[np.uint8]) -> Features:
        """The features of a resized picture."""
        return encode(self.model, small_hwc)

    def _advance(self, step: int) -> None:
        """Bring the states up to a new frame."""
        rows = self.state.objects.rows
        tracked = [obj for obj in rows if obj.tracked_step == step]
        if tracked:
            presence_n1 = torch.cat([obj.outputs[-1].decoded.presence_n1 for obj in tracked])
            for obj, score in zip(tracked, presence_n1[:, 0].sigmoid().tolist(), strict=True):
                obj.presence.track(score, self.policy)
        for obj in rows:
            obj.result = None

    def _following(self, prompt: Prompt, step: int) -> Prompt:
        """A prompt together with those before it for the object on the frame of a step."""
        row = self.state.objects.row(prompt.object_id)
        earlier = None if row is None else self.state.objects.rows[row].prompts.get(step)
        return prompt.following(earlier)
