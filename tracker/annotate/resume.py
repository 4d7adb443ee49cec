"""Resumable run: results and session snapshots kept in a folder, and taken up again."""

from contextlib import ExitStack
from dataclasses import dataclass

from streams.address import local_path
from streams.content_digest import content_digest
from streams.options import SourceOptions
from streams.sources.registry import Source
from tracker.annotate.first_masks import FirstMasks
from tracker.annotate.outputs import Outputs
from tracker.annotate.plan import PromptPlan
from tracker.annotate.recorded import RecordedTracker
from tracker.annotate.run_state import RunDescription, RunState
from tracker.annotate.trackers import PlanTracker
from tracker.engine import Session
from tracker.errors import UsageError
from tracker.models import Model


@dataclass(frozen=True, slots=True)
class Parts:
    """Model, new session, plan and segmenter of a run."""

    model: Model
    session: Session
    plan: PromptPlan
    first_masks: FirstMasks | None


def record(
    stack: ExitStack, state: RunState, description: RunDescription, parts: Parts
) -> RecordedTracker:
    """The tracker of a run that is kept in `state`, restored to where the run was interrupted.

    What it opens is closed with `stack`.

    Raises:
        UsageError: The state is of another run.
        SnapshotError: It is damaged.
        OutputError: It cannot be written.
    """
    journal = state.begin(description)
    stack.callback(journal.close)
    session, plan = parts.session, parts.plan
    resumed_at, next_frame = plan.frames.start, None
    if state.snapshot_path.exists():
        session = Session.load(state.snapshot_path, parts.model, helper=session.helper)
        # The session's first frame was that of the first prompt.
        steps = session.result().step + 1
        resumed_at = next_frame = journal.keep_session(plan.first_frame, steps)
    else:
        journal.keep(0)
    tracker = PlanTracker(session, plan, next_frame, parts.first_masks)
    return RecordedTracker(tracker, session, plan, state, journal, resumed_at)


def describe(
    url: str,
    options: SourceOptions | None,
    source: Source,
    parts: Parts,
    outputs: Outputs,
    segmenter: str | None,
) -> RunDescription:
    """Description of a run, by which it is recognised when it goes on.

    Raises:
        UsageError: The source cannot be read again.
        StreamError: It cannot be read now.
    """
    info, model = source.info, parts.model
    if info.live:
        raise UsageError(
            "--resume reads the source again, a live one cannot be", "record it to a file first"
        )
    path = local_path(url)
    return RunDescription(
        source=_encodable(info.url if path is None else str(path.resolve())),
        content=content_digest(url, options=options),
        width=info.width,
        height=info.height,
        frame_count=info.frame_count,
        model=model.name,
        fingerprint=model.fingerprint,
        device=str(model.device),
        dtype=model.precision,
        policy=parts.session.policy,
        plan=parts.plan.digest,
        outputs={option: _encodable(str(path.resolve())) for option, path in outputs.wanted()},
        segmenter=segmenter,
    )


def _encodable(name: str) -> str:
    """`name` with the bytes of a file name that are no text escaped."""
    return name.encode(errors="backslashreplace").decode()
