"""One stream in the tracker: its session, its frames' names, its object ids and states."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from tracker.daemon.messages import (
    AcceptCommand,
    BirthRefusedError,
    Command,
    Event,
    FindCommand,
    FoundBy,
    ListCommand,
    LiveFrame,
    PromptCommand,
    RelabelCommand,
    RemoveCommand,
    RequestError,
    ResetCommand,
    RestoreCommand,
    SaveCommand,
    SetZonesCommand,
    Tracked,
)
from tracker.daemon.telemetry.status import TrackingStatus
from tracker.daemon.tracking.drafts import Drafts
from tracker.daemon.tracking.found import FoundObjects, check_birth, check_newborn
from tracker.daemon.tracking.frame_history import FrameHistory, HistoryFrame
from tracker.daemon.tracking.motion import Motion, MotionEstimator
from tracker.daemon.tracking.object_ids import ObjectIds
from tracker.daemon.tracking.prompting import prompt_on
from tracker.daemon.tracking.quality import QualityController, Spent
from tracker.daemon.tracking.stats import StreamTrackerClock
from tracker.daemon.zones.monitor import ZoneMonitor
from tracker.engine import FULL, Helper, Policy, Session
from tracker.errors import PromptError, SnapshotError
from tracker.models import Model
from tracker.protocol.data import EventName
from tracker.protocol.fields import BudgetInfo, RleMask, StreamSettings
from tracker.protocol.recording import TrackedFrame, TrackerState
from tracker.protocol.replies import (
    ErrorCode,
    FindResult,
    ObjectInfo,
    ObjectsResult,
    PromptResult,
)
from tracker.rle import encode_rle
from tracker.types import ObjectResult, ObjectState, Prompt, Prompted

#: What a command gives: prompts a `PromptResult`; looking a `FindResult`; listing and restoring all
#: objects; relabelling the object; saving the snapshot; removing and resetting None.
CommandResult = PromptResult | FindResult | ObjectInfo | ObjectsResult | bytes | None


@dataclass(frozen=True, slots=True)
class _View:
    """Snapshot of a stream for other threads, made again and put in place whole."""

    objects: tuple[ObjectInfo, ...]
    newest: HistoryFrame | None
    bank_bytes: int
    next_object_id: int


class StreamTracker:
    """One stream; all but `status` belongs to the thread that tracks."""

    def __init__(
        self,
        stream: str,
        settings: StreamSettings,
        model: Model,
        policy: Policy,
        *,
        helper: Helper | None = None,
        on_event: Callable[[Event], None],
        quality: QualityController | None = None,
    ) -> None:
        self.stream = stream
        self._settings = settings
        self._model = model
        self._policy = policy
        self._helper = helper
        self._on_event = on_event
        self._history = FrameHistory(1 + policy.history_frames)
        self._ids = ObjectIds()
        self._drafts = Drafts()
        self._found = FoundObjects(None if settings.find is None else settings.find.expire_after_s)
        self._states: dict[int, ObjectState] = {}
        self._clock = StreamTrackerClock()
        deadline = settings.deadline
        self._deadline = quality or (
            None if deadline is None else QualityController.of(deadline.budget_s, model)
        )
        self._free_since_s = 0.0
        self._motion = MotionEstimator()
        self._zones = ZoneMonitor(stream)
        self._emit(self._zones.set_zones(settings.zones))
        self._view = _View((), None, 0, self._ids.next)

    @cached_property
    def _session(self) -> Session:
        """Made by the thread that tracks, at its first work for the stream.

        Computing in another thread, even zeros, would leave a second team of OpenMP threads: then
        all teams together have more threads than there are processors, and wait differently.
        """
        return self._new_session()

    def _new_session(self) -> Session:
        return Session(self._model, self._policy, helper=self._helper)

    @property
    def prefetches(self) -> bool:
        """True if it is worth while to `prefetch`.

        More frames a second are had for a longer way of each, so not where latency is kept to.
        """
        if "_session" not in self.__dict__:
            return False  # not made yet, and without objects
        deadline = self._settings.deadline
        return (deadline is None or deadline.latency_ms is None) and self._session.prefetches

    def prefetch(self, live: LiveFrame) -> None:
        """Begin to encode the frame that will be tracked next."""
        self._session.prefetch(live.frame.image)

    def track(self, live: LiveFrame, *, dropped: int) -> Tracked:
        """Track all objects on the next frame.

        Args:
            live: The frame.
            dropped: Frames of the stream dropped since the one before.
        """
        for object_id in self._drafts.ended():
            self._remove(object_id)
        begun_s = time.monotonic()
        budget = FULL if self._deadline is None else self._deadline.budget
        result = self._session.step(live.frame.image, budget)
        result = replace(result, objects=self._drafts.shown(result.objects))
        motions = self._motions(live, result.objects)
        tracked_s, spent = time.monotonic(), self._budget_info
        tracked = Tracked(live, result, self._settings, dropped, begun_s, tracked_s, spent, motions)
        self._account(tracked)
        frame = live.frame
        self._history.add(HistoryFrame.of(live, result.step), oldest_step=self._session.steps[0])
        self._clock.record(tracked)
        self._look(result.objects)
        self._emit(self._zones.update(live, result.objects))
        for object_id in self._found.expired(result.objects, frame.captured_ns):
            self._expire(object_id)
        return tracked

    def _motions(self, live: LiveFrame, objects: Sequence[ObjectResult]) -> Mapping[int, Motion]:
        """Velocities of the objects, where the messages hold them."""
        measure = self._settings.measure
        if not (measure.velocity or measure.prediction):
            return {}
        return self._motion.update(live.frame.captured_ns, objects)

    def waits(self, command: Command) -> bool:
        """True if a command is a prompt that is to wait for a frame, and there is none yet."""
        if not isinstance(command, PromptCommand) or self._history.newest is not None:
            return False
        known = any(obj.id == command.object_id for obj in self._view.objects)
        return command.wait_s > 0 and (known or not command.must_exist)

    def apply(self, command: Command, pause: Callable[[], None] = lambda: None) -> CommandResult:
        """Do what a client asked for, between two frames or while there are none.

        Args:
            command: What to do.
            pause: Called from time to time where it takes long; see `Session.prompt`.

        Raises:
            Refused: It cannot be done. Nothing has changed then.
        """
        match command:
            case PromptCommand():
                return self._prompt(command, pause)
            case AcceptCommand():
                return self._accept(command.object_id)
            case RemoveCommand():
                self._remove(command.object_id)
                return None
            case ResetCommand():
                self._reset(command.object_id)
                return None
            case RelabelCommand():
                return self._relabel(command.object_id, command.label)
            case SetZonesCommand():
                self._emit(self._zones.set_zones(command.zones))
                return None
            case ListCommand():
                return ObjectsResult(stream=self.stream, objects=list(self._view.objects))
            case SaveCommand():
                return self._session.to_bytes()
            case RestoreCommand():
                return self._restore(command)
            case FindCommand():
                raise TypeError("finders are asked by the worker")

    def snapshot(self) -> tuple[TrackerState, bytes] | None:
        """What `resume` takes: state and snapshot of the session; None without objects."""
        if not self._session.object_ids:
            return None
        newest = self._history.newest
        state = TrackerState(
            frame=None if newest is None else TrackedFrame(**asdict(newest)),
            drafts=self._drafts.ids,
            found=self._found.unseen_s,
            sightings=self._motion.sightings,
        )
        return state, self._session.to_bytes()

    def resume(self, state: TrackerState, data: bytes, name: str) -> None:
        """Go on from a snapshot, whatever was before.

        Args:
            state: As `snapshot` returned it.
            data: Likewise.
            name: Of the snapshot, for errors.

        Raises:
            RequestError: SNAPSHOT, where it cannot be used. Nothing has changed then.
        """
        session = self._load(Path(name), data)
        self._session = session
        self._history = FrameHistory(1 + self._policy.history_frames)
        if (frame := state.frame) is not None:
            self._history.add(HistoryFrame(**frame.model_dump()), oldest_step=frame.step)
        self._drafts.clear()
        for object_id in state.drafts:
            self._drafts.touch(object_id)
        self._found.resume(state.found, None if frame is None else frame.captured_ns)
        self._motion = MotionEstimator.resume(state.sightings)
        self._look()

    @property
    def is_behind(self) -> bool:
        """True if `replay_next` has something to do."""
        return "_session" in self.__dict__ and self._session.is_behind

    def replay_next(self) -> None:
        """Track an object whose replay was deferred on one frame more; see `Session`."""
        self._session.replay_next()
        if not self._session.is_behind:
            self._look()

    @property
    def counts(self) -> TrackingStatus:
        """Counters, some of which are counted by others in the thread that tracks."""
        return self._clock.counts

    def status(self) -> TrackingStatus:
        """Current status; from any thread."""
        view = self._view
        newest = view.newest
        return replace(
            self._clock.counts,
            width=0 if newest is None else newest.width,
            height=0 if newest is None else newest.height,
            fps=self._clock.fps,
            objects=view.objects,
            next_object_id=view.next_object_id,
            newest_seq=None if newest is None else newest.seq,
            bank_bytes=view.bank_bytes,
            budget=self._budget_info,
            stages=self._clock.stages(),
            zones=self._zones.counts,
        )

    def _account(self, tracked: Tracked) -> None:
        """Report a frame's cost to the deadline: of its interval, or since its packet arrived."""
        live, times = tracked.live, tracked.result.times
        encode_s = times.encode_s - times.ahead_s  # what it held up the frame
        free_s = max(self._free_since_s, live.queued_s)  # from when on it could have begun
        self._free_since_s = tracked.tracked_s
        if self._deadline is None or self._settings.deadline is None:
            return
        objects_s = tracked.tracked_s - tracked.begun_s - encode_s
        other_s = tracked.begun_s - free_s
        if self._settings.deadline.latency_ms is not None:
            objects_s += free_s - live.queued_s  # it waited for the frame before
            other_s += live.queued_s - live.arrived_s
        objects = len(self._session.object_ids)
        self._deadline.note(Spent(encode_s, objects_s, other_s, objects))

    def _prompt(self, command: PromptCommand, pause: Callable[[], None]) -> PromptResult:
        if command.must_exist:
            self._check_known(command.object_id)
        frame = self._history.find(command.frame)
        known, object_id = self._session.object_ids, command.object_id
        if object_id is None:
            object_id = self._ids.free(known)
        created = object_id not in known
        if created:
            self._check_room()
        try:
            prompt = prompt_on(command, object_id, frame)
            if command.found is not None:
                prompted = self._born(command.found, prompt, frame, pause)
            else:
                prompted = self._prompted(
                    prompt, frame, pause, created=created, replay=not command.defer_replay
                )
        except PromptError as err:
            raise RequestError(ErrorCode.BAD_PROMPT, err.message, err.hint) from err
        self._ids.use(object_id)
        self._motion.forget(object_id)
        if object_id in self._drafts or (created and command.draft):
            self._drafts.touch(object_id)
        if created:
            self._tell_added(self._info(prompted.object))
        else:
            self._tell(EventName.OBJECT_CORRECTED, object_id, label=prompted.object.label)
        if command.found is not None:
            self._accept_found(command.found, prompted.object)
        self._look()
        newest = self._newest
        assert newest is not None
        return PromptResult(
            object=self._info(prompted.object),
            created=created,
            frame_seq=frame.seq,
            newest_seq=newest.seq,
            replayed_frames=prompted.caught_up,
            deferred_frames=prompted.left,
            mask=self._mask_on(object_id, frame) if command.return_mask else None,
        )

    def _accept_found(self, found: FoundBy, obj: ObjectResult) -> None:
        """Take note of an object that a finder proposed."""
        self._found.ids.add(obj.id)
        self.counts.found += 1
        text = f"found by {found.finder}, score {found.score:.2f}"
        self._tell(EventName.FIND_ACCEPTED, obj.id, label=obj.label, text=text)

    def _mask_on(self, object_id: int, frame: HistoryFrame) -> RleMask:
        rle = encode_rle(self._session.mask_on(object_id, frame.step))
        return RleMask(size=(rle.height, rle.width), counts=rle.counts)

    def _accept(self, object_id: int) -> ObjectInfo:
        self._check_known(object_id)
        was_draft = self._drafts.drop(object_id)
        info = next(obj for obj in self._objects() if obj.id == object_id)
        if was_draft:
            self._tell_added(info)
        self._look()
        return info

    def _prompted(
        self,
        prompt: Prompt,
        frame: HistoryFrame,
        pause: Callable[[], None],
        *,
        created: bool,
        replay: bool,
    ) -> Prompted:
        """Prompt the session; a new object whose catching up failed does not stay half done."""
        if self._session.click_count(prompt, frame.step) > self._policy.max_points:
            raise RequestError(
                ErrorCode.LIMIT,
                f"object {prompt.object_id} would have more than {self._policy.max_points} clicks "
                "on one frame",
                "give a box or a mask, which starts afresh",
            )
        try:
            return self._session.prompt(prompt, frame.step, replay=replay, pause=pause)
        except Exception:
            if created and prompt.object_id in self._session.object_ids:
                self._session.remove(prompt.object_id)
            raise

    def _born(
        self, found: FoundBy, prompt: Prompt, frame: HistoryFrame, pause: Callable[[], None]
    ) -> Prompted:
        """Prompt the session with a proposal, which must be of no object that is there by now."""
        session = self._session
        while session.is_behind:  # where its objects are is known only then
            pause()
            session.replay_next()
        unseen = check_birth(found, prompt, session, frame.step)
        prompted = self._prompted(prompt, frame, pause, created=True, replay=True)
        try:
            check_newborn(found, prompted.object, session, unseen)
        except BirthRefusedError:
            session.remove(prompt.object_id)
            raise
        return prompted

    def _remove(self, object_id: int) -> None:
        self._check_known(object_id)
        label = self._label(object_id)
        self._session.remove(object_id)
        self._tell(EventName.OBJECT_REMOVED, object_id, label=label)
        self._drafts.drop(object_id)
        self._found.ids.discard(object_id)
        self._look()

    def _expire(self, object_id: int) -> None:
        """Remove an object that was found, and lost for too long."""
        label = self._label(object_id)
        self._remove(object_id)
        self.counts.expired += 1
        self._tell(EventName.FIND_EXPIRED, object_id, label=label)

    def _reset(self, object_id: int) -> None:
        self._check_known(object_id)
        self._session.reset(object_id)
        self._motion.forget(object_id)
        self._tell(EventName.OBJECT_RESET, object_id, label=self._label(object_id))
        self._look()

    def _relabel(self, object_id: int, label: str | None) -> ObjectInfo:
        self._check_known(object_id)
        self._session.relabel(object_id, label)
        self._tell(EventName.OBJECT_RELABELLED, object_id, label=label)
        self._look()
        return next(obj for obj in self._all_objects() if obj.id == object_id)

    def _restore(self, command: RestoreCommand) -> ObjectsResult:
        session = self._new_session() if command.lost else self._load(command.path, command.data)
        wanted = dict(session.labels if command.objects is None else command.objects)
        _list_only(session, dict(list(wanted.items())[: self._policy.max_objects]))
        known = [i for i in self._session.object_ids if i not in self._drafts]
        gone = {i: self._label(i) for i in known if i not in session.object_ids}
        self._drafts.clear()
        found = self._found.ids if command.objects is None else command.found
        self._found.ids = set(found) & set(session.object_ids)
        self._session = session
        self._history = FrameHistory(1 + self._policy.history_frames)
        self._ids.go_on(command.next_object_id)
        for object_id in sorted(session.object_ids):
            self._ids.use(object_id)
        for object_id, label in gone.items():
            self._tell(EventName.OBJECT_REMOVED, object_id, label=label)
        objects = self._objects()
        for obj in objects:
            self._states[obj.id] = obj.state
            self._tell(EventName.OBJECT_RESTORED, obj.id, state=obj.state, label=obj.label)
        self._motion = MotionEstimator()
        self._zones.restart(session.object_ids)
        self._look()
        return ObjectsResult(stream=self.stream, objects=list(objects))

    def _load(self, path: Path, data: bytes | None) -> Session:
        """The session of a snapshot, with today's limit of objects.

        Raises:
            Refused: SNAPSHOT, where it cannot be used.
        """
        try:
            session = Session.load(path, self._model, helper=self._helper, data=data)
        except SnapshotError as err:
            raise RequestError(ErrorCode.SNAPSHOT, err.message, err.hint) from err
        session.limit_objects(self._policy.max_objects)
        if session.policy != self._policy:
            raise RequestError(
                ErrorCode.SNAPSHOT,
                f"snapshot {path} was taken with another model.policy or model.history_frames",
                "prompt the objects again",
            )
        return session

    def _check_known(self, object_id: int | None) -> None:
        if object_id not in self._session.object_ids:
            known = ", ".join(str(i) for i in self._session.object_ids)
            raise RequestError(
                ErrorCode.UNKNOWN_OBJECT,
                f"stream {self.stream} has no object {object_id}",
                f"its objects: {known}" if known else "it has none; prompt one",
            )

    def _check_room(self) -> None:
        if len(self._session.object_ids) >= self._policy.max_objects:
            raise RequestError(
                ErrorCode.LIMIT,
                f"stream {self.stream} has {self._policy.max_objects} objects, as many as are "
                "allowed",
                "remove one, or raise limits.objects_per_stream in the daemon's configuration",
            )

    @property
    def _budget_info(self) -> BudgetInfo | None:
        return None if self._deadline is None else self._deadline.info

    @property
    def _newest(self) -> HistoryFrame | None:
        """The newest frame, which may be of before a restore, and then takes no prompts."""
        return self._history.newest or self._view.newest

    def _label(self, object_id: int) -> str | None:
        return self._session.labels[object_id]

    def _objects(self) -> tuple[ObjectInfo, ...]:
        """The objects as they stand, without drafts."""
        return self._drafts.shown(self._all_objects())

    def _all_objects(self) -> tuple[ObjectInfo, ...]:
        """All objects as they stand, which works before the first frame too."""
        session = self._session
        if session.steps:
            return tuple(self._info(obj) for obj in session.result().objects)
        found = self._found.ids
        return tuple(
            ObjectInfo(
                id=i, label=session.labels[i], state=state, score=0.0, box=None, found=i in found
            )
            for i, state in session.object_states.items()
        )

    def _look(self, results: Iterable[ObjectResult] | None = None) -> None:
        """Emit which states changed since the last look, and show how all stands."""
        objects = self._objects() if results is None else tuple(self._info(obj) for obj in results)
        states = {obj.id: obj.state for obj in objects}
        for obj in objects:
            if self._states.get(obj.id) is not obj.state:
                self._tell(EventName.OBJECT_STATE, obj.id, state=obj.state, label=obj.label)
        self._states = states
        self._view = _View(objects, self._newest, self._session.memory_bytes, self._ids.next)

    def _info(self, obj: ObjectResult) -> ObjectInfo:
        return ObjectInfo(
            id=obj.id,
            label=obj.label,
            state=obj.state,
            score=obj.score,
            box=obj.box_xyxy,
            updated=obj.fresh,
            identity=obj.identity,
            found=obj.id in self._found.ids,
        )

    def _emit(self, events: Iterable[Event]) -> None:
        """Send events of zones and lines."""
        for event in events:
            self._clock.counts.zone_events += 1
            self._on_event(event)

    def _tell_added(self, obj: ObjectInfo) -> None:
        if obj.id not in self._drafts:
            self._states[obj.id] = obj.state
        self._tell(EventName.OBJECT_ADDED, obj.id, state=obj.state, label=obj.label)

    def _tell(
        self,
        name: EventName,
        object_id: int,
        *,
        label: str | None,
        state: ObjectState | None = None,
        text: str = "",
    ) -> None:
        if object_id in self._drafts:
            return
        newest = self._newest
        frame_seq = None if newest is None else newest.seq
        at_ns = time.time_ns()
        self._on_event(Event(self.stream, name, at_ns, frame_seq, object_id, state, label, text))


def _list_only(session: Session, wanted: Mapping[int, str | None]) -> None:
    """Leave exactly the `wanted` objects, by id, with these labels; new ones are lost."""
    for object_id in session.object_ids:
        if object_id not in wanted:
            session.remove(object_id)
    for object_id, label in wanted.items():
        if object_id in session.object_ids:
            session.relabel(object_id, label)
        else:
            session.declare(object_id, label)
