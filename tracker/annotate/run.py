"""Offline annotation of one source: prompts in, tracked frames into every output, a summary out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from streams import open_source
from streams.address import SourceKind, local_path, parse_address
from streams.frame import Frame
from streams.options import SourceOptions
from streams.sources.images import images_folder
from streams.sources.registry import Source
from tracker.annotate import resume as resuming
from tracker.annotate.backward import BackwardPass, MergedTracker
from tracker.annotate.finding import FinderChoice, FindingTracker
from tracker.annotate.first_frame import checked_frames
from tracker.annotate.first_masks import FirstMasks
from tracker.annotate.job import Job, Tally
from tracker.annotate.live_frames import LiveFrames
from tracker.annotate.outputs import Outputs
from tracker.annotate.pictures import Pictures
from tracker.annotate.plan import PromptPlan
from tracker.annotate.progress import OnFrame, Progress, never, no_progress
from tracker.annotate.read_ahead import read_ahead
from tracker.annotate.run_state import RunDescription, RunState
from tracker.annotate.source_name import export_source
from tracker.annotate.summary import Summary, summarize
from tracker.annotate.thread_share import sharing_processors
from tracker.annotate.trackers import FrameTracker, PlanTracker
from tracker.engine import Policy, Session
from tracker.errors import PromptError, UsageError
from tracker.exporters.base import ExportSource, Layout, notes_of
from tracker.finders.guard import GuardedFinder
from tracker.helper import HelperThread, helper_thread
from tracker.models import Model, load_model
from tracker.segmenters.registry import SEGMENTERS


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Choice of the model that tracks.

    Attributes:
        name: As `trackd checkpoints` lists it.
        checkpoint: Weights to load instead of the model's own.
        device: auto, cpu, cuda or mps.
        dtype: auto, fp32, bf16 or int8.
        policy: Limits and choices of the session; its history is not used.
    """

    name: str = "pico"
    checkpoint: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Annotation:
    """One source, what to track in it, with which model, and what is written.

    Attributes:
        source: Address, as for `streams.open_source`.
        plan: Prompts, removals and range of frames.
        outputs: What is written; with a state folder, an interrupted run goes on.
        model: What tracks.
        segmenter: Name of what makes the first mask of an object; None for the tracker itself.
        box_padding: Share of its size by which a box grows on each side before the segmenter.
        finder: What finds objects beside the prompts; goes with neither `backward` nor a state
            folder.
        backward: Track each object from its first prompt towards the start as well; decodes the
            source again, once for every 256 MiB of pictures before the prompts.
        options: How a camera or a server is spoken to.
        inputs: Further files that the run must not write.
    """

    source: str
    plan: PromptPlan
    outputs: Outputs
    model: ModelChoice = ModelChoice()
    segmenter: str | None = None
    backward: bool = False
    options: SourceOptions | None = None
    inputs: tuple[Path, ...] = ()
    box_padding: float = 0.0
    finder: FinderChoice | None = None

    @contextmanager
    def open(self) -> Iterator["OpenAnnotation"]:
        """Open the source and load the model.

        Everything that can be known to be wrong is found here, before anything is written.

        Raises:
            TrackdError: Wrong usage, or something that the run needs is missing or broken.
            StreamError: The source cannot be opened or decoded.
        """
        if self.backward and self.outputs.state is not None:
            raise UsageError("--backward and --resume do not go together", "leave one out")
        if self.finder is not None:
            self._check_finder()
        pictures = Pictures.of(self.source)
        state = None if self.outputs.state is None else RunState(self.outputs.state)
        self._check_outputs(pictures, begun=state is not None and state.begun)
        segmenter = None if self.segmenter is None else SEGMENTERS.find(self.segmenter)
        with ExitStack() as stack:
            # A camera goes on while a model is loaded, and its pictures would seem to come at once.
            loaded = self._load(stack) if _may_be_live(self.source) else None
            source = stack.enter_context(open_source(self.source, options=self.options))
            self._check_source(source)
            frames = checked_frames(_frames_of(stack, source), self.plan, self.outputs)
            pictures.check_prompted(self.plan)
            model, session = loaded or self._load(stack)
            check_policy(self.plan, session.policy, backward=self.backward)
            first_masks = None
            if segmenter is not None:
                made = segmenter.make(model)
                first_masks = FirstMasks(made, segmenter.name, self.box_padding)
            finder = None
            if self.finder is not None:
                finder = self.finder.make(model)
                stack.callback(finder.close)
                self._check_own_labels(finder)
            parts = resuming.Parts(model, session, self.plan, first_masks)
            count = len(pictures.paths)
            yield OpenAnnotation(self, parts, source, frames, state, count, finder)

    def _check_finder(self) -> None:
        """Raise `UsageError` where a finder does not fit the rest."""
        assert self.finder is not None
        if self.backward or self.outputs.state is not None:
            option = "--backward" if self.backward else "--resume"
            raise UsageError(
                f"{option} goes with prompts, not with a finder",
                "leave it out, or write what is found with --json and prompt that",
            )
        limit = self.model.policy.max_objects
        if self.finder.policy.max_objects > limit:
            raise UsageError(
                f"--max-objects {self.finder.policy.max_objects}", f"a session tracks {limit}"
            )

    def _check_own_labels(self, finder: GuardedFinder) -> None:
        """Raise `UsageError` where a format does not hold a label that the finder may give.

        Each is checked by itself: of the 80 classes of a detector, few are on a video.
        """
        assert self.finder is not None
        if self.finder.phrases:
            return  # they are checked already
        free_id = max(self.plan.labels, default=0) + 1
        for export in self.outputs.exports:
            for label in finder.labels:
                try:
                    export.spec.check_labels({**self.plan.labels, free_id: label})
                except UsageError as error:
                    raise UsageError(
                        f"{error.message}, which finder {finder.name} may find",
                        "name the classes to find, or write another format",
                    ) from error

    @property
    def possible_labels(self) -> dict[int, str | None]:
        """Labels of the objects that are prompted, and those that a finder may give others."""
        return self.labels_with(())

    def labels_with(self, finder_labels: Sequence[str]) -> dict[int, str | None]:
        """Possible labels, once the finder is there and has said its own."""
        labels = dict(self.plan.labels)
        if self.finder is not None:
            labels |= self.finder.possible_labels(max(labels, default=0) + 1, finder_labels)
        return labels

    def _check_outputs(self, pictures: Pictures, *, begun: bool) -> None:
        inputs = list(self.inputs)
        path = local_path(self.source)
        if path is not None:
            inputs.append(images_folder(path) or path)
        self.outputs.check(inputs, self.possible_labels, begun=begun)
        for export in self.outputs.exports:
            spec = export.spec
            if spec.layout is not Layout.FILE:
                pictures.check_stems(self.plan.frames, spec.option, spec.suffix)

    def _check_source(self, source: Source) -> None:
        if self.backward and source.info.live:
            raise UsageError(
                "--backward reads the source again, a live one cannot be",
                "record it to a file first",
            )
        self.plan.check_range(source.info.frame_count)

    def _load(self, stack: ExitStack) -> tuple[Model, Session]:
        helper = helper_thread()
        if helper is not None:
            stack.callback(helper.close)
        return open_session(self.model, helper)


def open_session(choice: ModelChoice, helper: HelperThread | None) -> tuple[Model, Session]:
    """Load a model and start a session with it."""
    model = load_model(
        choice.name, checkpoint=choice.checkpoint, device=choice.device, dtype=choice.dtype
    )
    # Prompts come with their own frame here, so there is no past one to go back to.
    policy = replace(choice.policy, history_frames=0)
    return model, Session(model, policy, helper=helper)


class OpenAnnotation:
    """An annotation whose source is open and whose model is loaded; `run` tracks, once."""

    def __init__(
        self,
        annotation: Annotation,
        parts: resuming.Parts,
        source: Source,
        frames: Iterator[Frame],
        state: RunState | None,
        picture_count: int,
        finder: GuardedFinder | None = None,
    ) -> None:
        """Take what was opened; `picture_count` is that of a folder, 0 for a video."""
        self._finder = finder
        self._annotation = annotation
        self._parts = parts
        self._source = source
        self._frames = frames
        self._state = state
        self._picture_count = picture_count

    def run(
        self, *, progress: Progress = no_progress, stop_asked: Callable[[], bool] = never
    ) -> Summary:
        """Track and write, to the end or until `stop_asked` says so.

        Args:
            progress: Shows how far it is.
            stop_asked: Asked before each frame.

        Raises:
            TrackdError: As `Job.run` and `BackwardPass.run`, or the state folder is of another run.
            StreamError: The source failed.
        """
        asked, parts, plan = self._annotation, self._parts, self._parts.plan
        outputs = asked.outputs
        tracker: FrameTracker = PlanTracker(parts.session, plan, first_masks=parts.first_masks)
        recorded, back, finding, resumed_at = None, None, None, 0

        def doing(tally: Tally) -> str:
            return "replay" if (tally.last_frame or 0) < resumed_at else "frame"

        with ExitStack() as stack:
            if self._state is not None:
                tracker = recorded = resuming.record(stack, self._state, self._description(), parts)
                resumed_at = recorded.resumed_at
            if asked.backward:
                back = self._track_back(progress, stop_asked)
                stack.callback(back.results.close)
                tracker = MergedTracker(tracker, back.results, plan)
            if self._finder is not None:
                tracker = finding = self._finding(tracker, self._finder)
            info = self._source.info
            writers = outputs.open(self._described())
            job = Job(tracker, plan, writers, self._picture_count)
            adjust = stack.enter_context(sharing_processors(parts.model, live=info.live))
            with progress(plan.frames.count(info.frame_count), doing) as show:
                frames = self._frames if info.live else read_ahead(self._frames, parts.session)
                on_frame = partial(_show_then_adjust, show, adjust)
                tally = job.run(frames, on_frame=on_frame, stop_asked=stop_asked)
            if recorded is not None:
                recorded.end(stopped_early=tally.stopped_early)
        replayed = 0 if recorded is None else recorded.replayed
        backward = 0 if back is None else back.tally.frames
        source = self._source
        return summarize(
            tally,
            parts.model,
            plan,
            outputs,
            source,
            replayed=replayed,
            backward=backward,
            notes=tuple(note for writer in writers for note in notes_of(writer)),
            finding=finding,
        )

    def _finding(self, tracker: FrameTracker, finder: GuardedFinder) -> FindingTracker:
        """The tracker with a finder beside it."""
        asked, parts = self._annotation, self._parts
        assert asked.finder is not None
        return FindingTracker(
            tracker,
            parts.session,
            finder,
            asked.finder,
            parts.plan,
            first_masks=parts.first_masks,
            last_id=asked.outputs.max_object_id,
        )

    def _described(self) -> ExportSource:
        asked, fps = self._annotation, self._source.info.fps
        is_video = self._picture_count == 0
        labels = asked.labels_with(() if self._finder is None else self._finder.labels)
        return export_source(asked.source, fps, labels, is_video=is_video)

    def _description(self) -> RunDescription:
        asked = self._annotation
        return resuming.describe(
            asked.source, asked.options, self._source, self._parts, asked.outputs, asked.segmenter
        )

    def _track_back(self, progress: Progress, stop_asked: Callable[[], bool]) -> BackwardPass:
        """Track from the prompts to the start of the range, with a session of its own."""
        parts, asked = self._parts, self._annotation
        session = Session(parts.model, parts.session.policy)
        back = BackwardPass(session, parts.plan, parts.first_masks)
        with progress(back.total, lambda tally: "backward") as on_frame:
            back.run(
                lambda: open_source(asked.source, options=asked.options),
                on_frame=on_frame,
                stop_asked=stop_asked,
            )
        return back


def run(
    source: str,
    plan: PromptPlan,
    outputs: Mapping[str, Path | str],
    *,
    settings: Mapping[str, Any] | None = None,
    model: ModelChoice | None = None,
    segmenter: str | None = None,
    backward: bool = False,
    resume: Path | str | None = None,
    options: SourceOptions | None = None,
    box_padding: float = 0.0,
    finder: FinderChoice | None = None,
    progress: Progress = no_progress,
    stop_asked: Callable[[], bool] = never,
) -> Summary:
    """Track objects through a source and write what was found.

    Args:
        source: As in `Annotation`.
        plan: Likewise.
        outputs: Path of each output by the name of its format, such as video, davis or cvat.
        settings: Of these formats, such as `{"effect": "blur"}`.
        model: As in `Annotation`; None for pico.
        segmenter: Likewise.
        backward: Likewise.
        resume: Folder that keeps results and snapshots; after an interruption or a crash the same
            call goes on from there.
        options: As in `Annotation`.
        box_padding: Likewise.
        finder: Likewise; the plan needs `finds` then.
        progress: Shows how far it is.
        stop_asked: Asked before each frame; what was written up to then is valid.

    Raises:
        TrackdError: Wrong usage, or something that the run needs is missing or broken.
        StreamError: The source cannot be opened or decoded, or failed.
    """
    state = None if resume is None else Path(resume)
    annotation = Annotation(
        source,
        plan,
        Outputs.of(outputs, state=state, settings=settings),
        model or ModelChoice(),
        segmenter,
        backward,
        options,
        box_padding=box_padding,
        finder=finder,
    )
    with annotation.open() as opened:
        return opened.run(progress=progress, stop_asked=stop_asked)


def _show_then_adjust(show: OnFrame, adjust: Callable[[], None], tally: Tally) -> None:
    show(tally)
    adjust()


def _may_be_live(source: str) -> bool:
    """True where a source may go on by itself, which only an open one shows for sure."""
    return parse_address(source).kind in (SourceKind.NETWORK, SourceKind.CAMERA)


def _frames_of(stack: ExitStack, source: Source) -> Iterable[Frame]:
    """The frames of a source; those of a live one are read when they come."""
    if not source.info.live:
        return source
    frame_bytes = source.info.width * source.info.height * 3
    return stack.enter_context(LiveFrames(source, frame_bytes=frame_bytes))


def check_policy(plan: PromptPlan, policy: Policy, *, backward: bool) -> None:
    """Check a plan against the limits of a session.

    Raises:
        PromptError: It has more objects at a time, or more clicks on a frame.
    """
    objects = plan.most_at_once
    if objects > policy.max_objects:
        raise PromptError(
            f"{objects} objects are prompted, a session tracks {policy.max_objects}",
            "track them in several runs",
        )
    if backward and len(plan.object_ids) > policy.max_objects:
        raise PromptError(
            f"{len(plan.object_ids)} objects are tracked backward, "
            f"a session tracks {policy.max_objects}",
            "track them in several runs",
        )
    for item in plan.placed:
        prompt = item.prompt
        clicks = len(prompt.points_xy) + (0 if prompt.box_xyxy is None else 2)
        if clicks > policy.max_points:
            raise PromptError(
                f"object {prompt.object_id} has {clicks} clicks on frame {item.frame}",
                f"use at most {policy.max_points}, a box counts as two; a mask says more",
            )
