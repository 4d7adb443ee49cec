"""Tracking of a project: what its prompts changed is tracked, everything else is kept.

A memory that is written on one frame is read on all later ones. So the results of a frame hold for
as long as the prompts up to it stay as they are, and no longer: after a correction the frames from
it to the end of the range are tracked again, from the last snapshot of the session before it. The
results are those of `trackd track` with the same prompts, bit for bit.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from streams.frame import Frame
from tracker.annotate.backward import BackwardPass
from tracker.annotate.first_frame import checked_frames
from tracker.annotate.first_masks import FirstMasks
from tracker.annotate.job import Job, Tally
from tracker.annotate.outputs import Outputs
from tracker.annotate.pictures import Pictures
from tracker.annotate.plan import PromptPlan
from tracker.annotate.progress import OnFrame
from tracker.annotate.read_ahead import read_ahead
from tracker.annotate.run import ModelChoice, check_policy, open_session
from tracker.annotate.thread_share import sharing_processors
from tracker.annotate.trackers import FrameTracker, PlanTracker
from tracker.engine import POLICIES, Session
from tracker.errors import UsageError
from tracker.helper import HelperThread, helper_thread
from tracker.project.folder import Project
from tracker.project.prompts import ProjectPrompts, first_change, first_prompts_digest
from tracker.project.replay import StoredBackward
from tracker.project.results import Direction, ResultStore
from tracker.project.snapshots import Snapshots
from tracker.segmenters.registry import SEGMENTERS
from tracker.types import TrackResult

SNAPSHOT_FRAMES = 25  # between snapshots, at most
SNAPSHOT_EVERY_S = 2.0  # of tracking, at most

StopAsked = Callable[[], bool]


class TrackingStopped(Exception):  # noqa: N818 - no error
    """Somebody asked to stop while frames before the first that is tracked were read."""


class LoadedModel:
    """The model of a project, and the sessions that track with it."""

    def __init__(self, project: Project) -> None:
        """Load it.

        Raises:
            TrackdError: There is no such model or policy, or weights are missing.
        """
        settings = project.settings
        if settings.policy not in POLICIES:
            raise UsageError(
                f"{project.folder} has the policy {settings.policy}", "use the trackd that made it"
            )
        checkpoint = None if settings.checkpoint is None else Path(settings.checkpoint)
        self.helper: HelperThread | None = helper_thread()
        self.model, session = open_session(
            ModelChoice(
                settings.model,
                checkpoint,
                settings.device,
                settings.dtype,
                POLICIES[settings.policy],
            ),
            self.helper,
        )
        self._policy = session.policy
        self.first_masks: FirstMasks | None = None
        if settings.segmenter is not None:
            segmenter = SEGMENTERS.find(settings.segmenter)
            made = segmenter.make(self.model)
            self.first_masks = FirstMasks(made, segmenter.name, settings.box_padding)

    def session(self) -> Session:
        """A new session."""
        return Session(self.model, self._policy, helper=self.helper)

    def restored(self, path: Path, data: bytes | None = None) -> Session:
        """A session from a snapshot.

        Raises:
            SnapshotError: It is damaged, or of other weights.
        """
        return Session.load(path, self.model, helper=self.helper, data=data)

    def identity(self, project: Project) -> str:
        """All but the prompts that results depend on, as text."""
        parts = {
            "content": project.settings.content,
            "frames": (project.frames.start, project.frames.stop),
            "fingerprint": self.model.fingerprint,
            "device": str(self.model.device),
            "dtype": self.model.precision,
            "policy": asdict(self._policy),
            "segmenter": (project.settings.segmenter, project.settings.box_padding),
        }
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def check(self, plan: PromptPlan, *, backward: bool) -> None:
        """Check a plan against the limits of a session.

        Raises:
            PromptError: It has too many objects, or clicks.
        """
        check_policy(plan, self._policy, backward=backward)

    def close(self) -> None:
        """Let the helper's thread go."""
        if self.helper is not None:
            self.helper.close()


class ProjectTracking:
    """Brings the results of a project up to date with its prompts.

    Attributes:
        project: The project; `backward` of its settings as `plan` read it.
        prompts: Its prompts, as `plan` read them.
    """

    def __init__(self, project: Project, loaded: LoadedModel, store: ResultStore) -> None:
        """Track into `store`; the project must be locked.

        Raises:
            UsageError: The source is not what it was.
            StreamError: It cannot be read.
        """
        project.check_source()
        self.project = project
        self._loaded = loaded
        self._store = store
        self._snapshots = project.snapshots
        self.prompts = ProjectPrompts()
        self._plan: PromptPlan | None = None
        self._picture_count = 0

    def plan(self) -> PromptPlan | None:
        """Read the prompts, and see from which frame on they change what was tracked.

        Whether objects are tracked towards the start is read again as well.

        Raises:
            UsageError: They cannot be read, or contradict each other.
            SnapshotError: The settings cannot be read.
        """
        self.project = self.project.with_kept_backward()
        prompts = self.project.prompts()
        plan = prompts.plan(self.project.frames)
        identity, text = self._loaded.identity(self.project), prompts.to_json()
        store = self._store
        changed = None
        if store.identity != identity:
            changed = 0
        elif store.prompts_json != text:
            changed = first_change(ProjectPrompts.from_json(store.prompts_json), prompts)
        if changed is not None:
            self._snapshots.drop_after(changed)
            store.begin(identity, changed)
        store.note(text, self.project.settings.model_dump_json())
        if plan is None:
            store.clear()
        self.prompts, self._plan = prompts, plan
        return plan

    def note_names(self) -> bool:
        """Note prompts that differ from those that are tracked in names alone; False if more does.

        Raises:
            TrackdError: As `plan`.
        """
        project, prompts = self.project.with_kept_backward(), self.project.prompts()
        if project.settings != self.project.settings:
            return False
        if first_change(self.prompts, prompts) is not None:
            return False
        self._plan = prompts.plan(project.frames)
        self._store.note(prompts.to_json(), project.settings.model_dump_json())
        self.prompts = prompts
        return True

    @property
    def is_done(self) -> bool:
        """True if there is nothing to track, by the prompts that `plan` read."""
        return self._plan is None or (self._store.is_forward_done and self._is_backward_done)

    @property
    def _is_backward_done(self) -> bool:
        if self._plan is None or not self.project.settings.backward:
            return True
        return self._store.backward_of == first_prompts_digest(self._plan)

    def track(self, *, on_forward: OnFrame, on_backward: OnFrame, stop_asked: StopAsked) -> bool:
        """Track what the prompts changed; False where `stop_asked` ended it.

        What was tracked up to then is kept, and the next call goes on from there.

        Raises:
            TrackdError: A prompt does not fit, or the disk is full.
            StreamError: The source failed.
        """
        plan = self._plan
        if plan is None:
            return True
        settings = self.project.settings
        self._loaded.check(plan, backward=settings.backward)
        pictures = Pictures.of(self.project.source)
        pictures.check_prompted(plan)
        self._picture_count = len(pictures.paths)
        try:
            if not self._store.is_forward_done and not self._forward(plan, on_forward, stop_asked):
                return False
            if not self._is_backward_done:
                return self._backward(plan, on_backward, stop_asked)
        except TrackingStopped:
            return False
        finally:
            self._store.commit()
        return True

    def _forward(self, plan: PromptPlan, on_frame: OnFrame, stop_asked: StopAsked) -> bool:
        loaded, begin = self._loaded, self._snapshots.newest(self._store.tracked_to)
        if begin is None:
            session = loaded.session()
        else:
            session = loaded.restored(self._snapshots.path(begin))
        inner = PlanTracker(session, plan, begin, loaded.first_masks)
        tracker = StoringTracker(inner, session, plan, self._store, self._snapshots)
        with ExitStack() as stack:
            source = stack.enter_context(self.project.open_source())
            plan.check_range(source.info.frame_count)
            adjust = stack.enter_context(sharing_processors(loaded.model, live=False))
            frames = checked_frames(source, plan, Outputs())
            first = plan.frames.start if begin is None else begin
            job = Job(tracker, plan, (), self._picture_count)

            def after(tally: Tally) -> None:
                on_frame(tally)
                adjust()

            tally = job.run(
                read_ahead(_since(frames, first, stop_asked), session),
                on_frame=after,
                stop_asked=stop_asked,
            )
        if tally.stopped_early:
            tracker.keep()
        else:
            self._store.end_forward()
        return not tally.stopped_early

    def _backward(self, plan: PromptPlan, on_frame: OnFrame, stop_asked: StopAsked) -> bool:
        self._store.begin_backward()
        results = StoredBackward(self._store, plan.labels)
        back = BackwardPass(self._loaded.session(), plan, self._loaded.first_masks, results)
        with sharing_processors(self._loaded.model, live=False):
            tally = back.run(self.project.open_source, on_frame=on_frame, stop_asked=stop_asked)
        if not tally.stopped_early:
            self._store.end_backward(first_prompts_digest(plan))
        return not tally.stopped_early


class StoringTracker:
    """Keeps what another tracker finds, and how the session stands now and then."""

    def __init__(
        self,
        tracker: FrameTracker,
        session: Session,
        plan: PromptPlan,
        store: ResultStore,
        snapshots: Snapshots,
    ) -> None:
        """Keep results in `store`, sessions in `snapshots`."""
        self._tracker = tracker
        self._session = session
        self._first_prompt = plan.placed[0].frame
        self._store = store
        self._snapshots = snapshots
        self._next = 0
        self._unsaved = 0
        self._saved_s = time.monotonic()

    def track(self, frame: Frame) -> TrackResult:
        """All objects on the next frame.

        Raises:
            TrackdError: As the other tracker, or the disk is full.
        """
        result = self._tracker.track(frame)
        self._store.put(Direction.FORWARD, frame.seq, result)
        self._next = frame.seq + 1
        self._unsaved += frame.seq >= self._first_prompt
        waited_s = time.monotonic() - self._saved_s
        if self._unsaved >= SNAPSHOT_FRAMES or (self._unsaved and waited_s >= SNAPSHOT_EVERY_S):
            self.keep()
        return result

    def keep(self) -> None:
        """Keep how the session stands, after the results up to here."""
        if not self._unsaved:
            return
        self._store.commit()
        self._snapshots.put(self._next, self._session)
        self._unsaved, self._saved_s = 0, time.monotonic()


def _since(frames: Iterator[Frame], first: int, stop_asked: StopAsked) -> Iterator[Frame]:
    for frame in frames:
        if frame.seq >= first:
            yield frame
        elif stop_asked():
            raise TrackingStopped
