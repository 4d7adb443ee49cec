"""Export of a project: what was tracked, into any format of the exporters' registry."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from streams.address import local_path
from streams.sources.images import images_folder
from tracker.annotate.first_frame import checked_frames
from tracker.annotate.job import Job, Tally
from tracker.annotate.outputs import Outputs
from tracker.annotate.pictures import Pictures
from tracker.annotate.plan import PromptPlan
from tracker.annotate.source_name import export_source
from tracker.errors import UsageError
from tracker.exporters.base import Layout
from tracker.project.folder import Project
from tracker.project.replay import stored_tracker
from tracker.project.results import ResultStore


def check_outputs(
    project: Project, plan: PromptPlan | None, outputs: Outputs, inputs: Sequence[Path] = ()
) -> PromptPlan:
    """Check that a project can be written into outputs, before anything is tracked or written.

    Args:
        project: What is exported.
        plan: Its prompts.
        outputs: What is to be written.
        inputs: Further files that must not be written.

    Raises:
        UsageError: There is nothing to export, or an output cannot hold it.
        OutputError: An output cannot be written there.
        StreamError: The source cannot be read.
    """
    if plan is None:
        raise UsageError(
            f"nothing is prompted in the project {project.folder}", "prompt an object first"
        )
    path = local_path(project.source)
    assert path is not None  # a project is of a file
    source = images_folder(path) or path
    own = (project.folder, project.settings_path, project.prompts_path)
    outputs.check([source, *own, *inputs], plan.labels)
    pictures = Pictures.of(project.source)
    for export in outputs.exports:
        if export.spec.layout is not Layout.FILE:
            pictures.check_stems(plan.frames, export.spec.option, export.spec.suffix)
    return plan


def export_project(
    project: Project,
    plan: PromptPlan,
    store: ResultStore,
    outputs: Outputs,
    *,
    on_frame: Callable[[Tally], None] = lambda tally: None,
    stop_asked: Callable[[], bool] = lambda: False,
) -> Tally:
    """Write what was tracked; the same bytes as `trackd track` writes with the same prompts.

    Args:
        project: What is exported.
        plan: Its prompts, for which everything is tracked.
        store: Its results.
        outputs: What is written, already checked.
        on_frame: Called after each frame.
        stop_asked: Asked before each frame; what was written up to then is valid.

    Raises:
        TrackdError: An output cannot be written, or the results are damaged.
        StreamError: The source failed.
    """
    with ExitStack() as stack:
        source = stack.enter_context(project.open_source())
        frames = checked_frames(source, plan, outputs)
        tracker = stored_tracker(store, plan, backward=project.settings.backward)
        pictures = len(Pictures.of(project.source).paths)
        described = export_source(
            project.source, source.info.fps, plan.labels, is_video=pictures == 0
        )
        job = Job(tracker, plan, outputs.open(described), pictures)
        return job.run(frames, on_frame=on_frame, stop_asked=stop_asked)
