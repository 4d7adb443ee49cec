"""What `--resume` adds to a run: results and session are kept, and taken up again."""

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tracker.errors import UsageError

if TYPE_CHECKING:
    from streams.sources.registry import Source
    from tracker.annotate.outputs import Outputs
    from tracker.annotate.plan import PromptPlan
    from tracker.annotate.recorded import RecordedTracker
    from tracker.annotate.run_state import RunDescription, RunState
    from tracker.engine import Session
    from tracker.models import Model


def record(
    stack: ExitStack,
    state: "RunState",
    description: "RunDescription",
    model: "Model",
    session: "Session",
    plan: "PromptPlan",
) -> "RecordedTracker":
    """The tracker of a run that is kept in `state`, restored to where the run was interrupted.

    What it opens is closed with `stack`.

    Raises:
        UsageError: The state is of another run.
        SnapshotError: It is damaged.
        OutputError: It cannot be written.
    """
    from tracker.annotate.recorded import RecordedTracker
    from tracker.annotate.trackers import PlanTracker
    from tracker.engine import Session

    journal = state.begin(description)
    stack.callback(journal.close)
    resumed_at, next_frame = plan.frames.start, None
    if state.snapshot_path.exists():
        session = Session.load(state.snapshot_path, model, helper=session.helper)
        # The session's first frame was that of the first prompt.
        steps = session.result().step + 1
        resumed_at = next_frame = journal.keep_session(plan.placed[0].frame, steps)
    else:
        journal.keep(0)
    tracker = PlanTracker(session, plan, next_frame)
    return RecordedTracker(tracker, session, plan, state, journal, resumed_at)


def describe(
    args: argparse.Namespace,
    source: "Source",
    model: "Model",
    session: "Session",
    plan: "PromptPlan",
    outputs: "Outputs",
) -> "RunDescription":
    """What the run is.

    Raises:
        UsageError: The source cannot be read again.
        StreamError: It cannot be read now.
    """
    from streams.address import local_path
    from streams.content_digest import content_digest
    from tracker.annotate.run_state import RunDescription
    from tracker.cli import source_options

    info = source.info
    if info.live:
        raise UsageError(
            "--resume reads the source again, a live one cannot be", "record it to a file first"
        )
    path = local_path(args.source)
    return RunDescription(
        source=_encodable(info.url if path is None else str(path.resolve())),
        content=content_digest(args.source, **source_options.given(args.source_options)),
        width=info.width,
        height=info.height,
        frame_count=info.frame_count,
        model=model.name,
        fingerprint=model.fingerprint,
        device=str(model.device),
        dtype=model.precision,
        policy=session.policy,
        plan=plan.digest,
        outputs={option: _encodable(str(path.resolve())) for option, path in outputs.wanted()},
    )


def _encodable(name: str) -> str:
    """`name` with the bytes of a file name that are no text escaped."""
    return name.encode(errors="backslashreplace").decode()
