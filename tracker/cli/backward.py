"""What `--backward` adds to a run: a pass towards the start before the one towards the end."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from tracker.errors import PromptError, UsageError

if TYPE_CHECKING:
    from streams.sources.registry import Source
    from tracker.annotate.backward import BackwardPass
    from tracker.annotate.job import Tally
    from tracker.annotate.plan import PromptPlan
    from tracker.engine import Policy
    from tracker.models import Model


def check(args: argparse.Namespace, source: "Source") -> None:
    """Check that the source can be tracked backward.

    Raises:
        UsageError: It is live.
    """
    if args.backward and source.info.live:
        raise UsageError(
            "--backward reads the source again, a live one cannot be", "record it to a file first"
        )


def track_back(
    args: argparse.Namespace,
    model: "Model",
    policy: "Policy",
    plan: "PromptPlan",
    stop_asked: Callable[[], bool],
) -> "BackwardPass":
    """Track from the prompts to the start of the range, with a session of its own.

    Raises:
        TrackdError: As `BackwardPass.run`, or more objects are prompted than a session tracks.
        StreamError: The source failed.
    """
    from streams import open_source
    from tracker.annotate.backward import BackwardPass
    from tracker.cli import source_options
    from tracker.cli.progress import show_progress
    from tracker.engine import Session

    objects = len(plan.object_ids)
    if objects > policy.max_objects:
        raise PromptError(
            f"{objects} objects are tracked backward, a session tracks {policy.max_objects}",
            "track them in several runs",
        )
    back = BackwardPass(Session(model, policy), plan)

    def doing(tally: "Tally") -> str:
        return "backward"

    with show_progress(back.total, quiet=args.quiet, doing=doing) as on_frame:
        options = source_options.given(args.source_options)
        back.run(
            lambda: open_source(args.source, **options),
            on_frame=on_frame,
            stop_asked=stop_asked,
        )
    return back
