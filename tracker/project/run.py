"""A project brought up to date and exported: what `trackd export` and `track --project` do."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tracker.annotate.job import Tally
from tracker.annotate.outputs import Outputs
from tracker.annotate.progress import Progress, never, no_progress
from tracker.annotate.run import Annotation
from tracker.annotate.source_name import source_name
from tracker.errors import UsageError
from tracker.project.export import check_outputs, export_project
from tracker.project.folder import Project, ProjectSettings, described_source
from tracker.project.prompts import ProjectPrompts
from tracker.project.stored import is_tracked
from tracker.project.tracking import LoadedModel, ProjectTracking


@dataclass(frozen=True, slots=True)
class ProjectSummary:
    """What a run over a project did.

    Attributes:
        tracked: Frames that were tracked, those of the backward pass included; the rest was kept.
        exported: Frames that were written.
        stopped_early: Someone asked to stop.
        outputs: Path of each output by its key.
    """

    tracked: int
    exported: int
    stopped_early: bool
    outputs: dict[str, str]


def project_of(annotation: Annotation, folder: Path, *, policy: str) -> Project:
    """The project of an annotation: a new one, or that of the folder with these prompts.

    The prompts that it had are replaced once the outputs are checked, while no other tracks it.

    Args:
        annotation: Source, prompts, model; its outputs are not the project's.
        folder: Of the project.
        policy: Name of the model's policy.

    Raises:
        UsageError: A project cannot hold it, or the folder is of another source or model.
        OutputError: The folder cannot be made, or an output cannot be written.
        TrackdError: Another program tracks the project.
        StreamError: The source cannot be read.
    """
    if annotation.outputs.state is not None:
        raise UsageError("--project and --resume do not go together", "a project goes on by itself")
    if annotation.finder is not None:
        raise UsageError("--project takes no finder", "a project is of prompts; leave one out")
    if annotation.options is not None:
        raise UsageError("--project takes no --source-option", "a project is of a file")
    settings = _settings_of(annotation, folder, policy)
    if (folder / "project.json").exists():
        project = Project.open(folder)
        named = settings.model_copy(update={"title": project.settings.title})
        if project.settings != named:
            raise _differs(folder, project.settings, named)
    else:
        project = Project.create(folder, settings)
    with project.lock():
        check_outputs(project, annotation.plan, annotation.outputs, annotation.inputs)
        ProjectPrompts.of(annotation.plan).save(project.prompts_path)
    return project


def _settings_of(annotation: Annotation, folder: Path, policy: str) -> ProjectSettings:
    source, content = described_source(annotation.source, folder)
    model, frames = annotation.model, annotation.plan.frames
    return ProjectSettings.model_validate(
        {
            "source": source,
            "content": content,
            "title": source_name(annotation.source)[:200] or "project",
            "start": frames.start,
            "stop": frames.stop,
            "model": model.name,
            "checkpoint": None if model.checkpoint is None else str(model.checkpoint.resolve()),
            "device": model.device,
            "dtype": model.dtype,
            "policy": policy,
            "segmenter": annotation.segmenter,
            "box_padding": annotation.box_padding,
            "backward": annotation.backward,
        }
    )


def _differs(folder: Path, before: ProjectSettings, now: ProjectSettings) -> UsageError:
    fields = ProjectSettings.model_fields
    differing = [key for key in fields if getattr(before, key) != getattr(now, key)]
    return UsageError(
        f"{folder} holds another project: it differs in {', '.join(differing)}",
        "give the command that made it, or another folder",
    )


def run_project(
    project: Project,
    outputs: Outputs,
    *,
    progress: Progress = no_progress,
    stop_asked: Callable[[], bool] = never,
) -> ProjectSummary:
    """Track what the prompts of a project changed, then write its outputs.

    Raises:
        UsageError: The source is not what it was, or as `check_outputs`.
        TrackdError: Another program tracks it, or something is missing or broken.
        StreamError: The source cannot be read.
    """
    project.check_source()
    prompts = project.prompts()
    plan = prompts.plan(project.frames)
    if outputs.exports:
        check_outputs(project, plan, outputs)
    tracked = 0
    if not _is_tracked(project, prompts):
        tracked, done = _track(project, progress, stop_asked)
        if not done:
            return ProjectSummary(tracked, 0, True, {})
    if plan is None or not outputs.exports:
        return ProjectSummary(tracked, 0, False, {})
    with (
        project.results(read_only=True) as store,
        progress(plan.frames.count(None), lambda tally: "export") as show,
    ):
        tally = export_project(project, plan, store, outputs, on_frame=show, stop_asked=stop_asked)
    return ProjectSummary(tracked, tally.frames, tally.stopped_early, outputs.by_key)


def _is_tracked(project: Project, prompts: ProjectPrompts) -> bool:
    """True if nothing is left to track; a studio may have the project open."""
    if not project.results_path.exists():
        return False
    with project.results(read_only=True) as store:
        return is_tracked(project, prompts, store)


def _track(
    project: Project, progress: Progress, stop_asked: Callable[[], bool]
) -> tuple[int, bool]:
    """Frames that were tracked, and whether it came to the end."""
    frames = {"frame": 0, "backward": 0}
    doing = "frame"

    def note(word: str, tally: Tally, show: Callable[[Tally], None]) -> None:
        nonlocal doing
        doing = word
        frames[word] = tally.frames
        show(tally)

    with ExitStack() as stack:
        stack.enter_context(project.lock())
        store = stack.enter_context(project.results())
        loaded = LoadedModel(project)
        stack.callback(loaded.close)
        tracking = ProjectTracking(project, loaded, store)
        tracking.plan()
        show = stack.enter_context(progress(None, lambda tally: doing))
        done = tracking.track(
            on_forward=lambda tally: note("frame", tally, show),
            on_backward=lambda tally: note("backward", tally, show),
            stop_asked=stop_asked,
        )
    return sum(frames.values()), done
