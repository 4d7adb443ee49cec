"""`trackd export`: write what was tracked in a project, in any format."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli import export_options
from tracker.errors import UsageError

if TYPE_CHECKING:
    from tracker.project.run import ProjectSummary

_EXAMPLES = """\
examples:
  trackd export annotations/dog --davis masks --coco-frames instances.json
  trackd export annotations/dog --export video:dog.mp4 --effect blur

What the prompts of the project changed since it was tracked is tracked first. The files equal those
of trackd track with the project's prompts.json, byte for byte.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "export",
        help="write the masks of a project, in any format",
        description="Writes what was tracked in a project of trackd studio, or of track --project.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("project", type=Path, metavar="PROJECT", help="the project's folder")
    group = parser.add_argument_group("output")
    export_options.add_options(group)
    group.add_argument("--quiet", action="store_true", help="show no progress")
    group.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Track what is missing, write, print the summary and return the exit code.

    Raises:
        TrackdError: Wrong usage, another program tracks the project, or something is broken.
        StreamError: The source cannot be opened or decoded.
    """
    from tracker.annotate.outputs import Outputs
    from tracker.cli.failures import INTERRUPTED
    from tracker.cli.interrupt import stop_on_signal
    from tracker.cli.progress import show_progress
    from tracker.project.folder import Project
    from tracker.project.run import run_project

    paths = export_options.given(args)
    if not paths:
        raise UsageError("nothing to write", "give --export FORMAT:PATH, such as davis:masks")
    outputs = Outputs.of(paths, settings=export_options.settings(args))
    project = Project.open(args.project)
    with stop_on_signal() as stop_asked:
        summary = run_project(
            project, outputs, progress=show_progress(quiet=args.quiet), stop_asked=stop_asked
        )
    print_summary(summary, project.folder, as_json=args.json)
    return INTERRUPTED if summary.stopped_early else 0


def print_summary(summary: "ProjectSummary", folder: Path, *, as_json: bool) -> None:
    """Print what a run over a project did."""
    import json
    from dataclasses import asdict

    from tracker.cli.printable import printable

    if as_json:
        print(json.dumps({"project": str(folder), **asdict(summary)}))
        return
    lines = [f"project {folder}: tracked {summary.tracked} frames, wrote {summary.exported}"]
    lines += [f"  {kind}: {path}" for kind, path in summary.outputs.items()]
    if summary.stopped_early:
        lines.append("  stopped early; the same command goes on from here")
    print("\n".join(map(printable, lines)))
