"""`trackd export`: write what was tracked in a project or a recording, in any format."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli import export_options
from tracker.cli.moments import MOMENT_HELP, moment
from tracker.errors import UsageError

if TYPE_CHECKING:
    from tracker.annotate.outputs import Outputs
    from tracker.project.run import ProjectSummary
    from tracker.replay.export import RecordingSummary

_EXAMPLES = """\
examples:
  trackd export annotations/dog --davis masks --coco-frames instances.json
  trackd export annotations/dog --export video:dog.mp4 --effect blur
  trackd export /srv/recordings/door --out door.mp4 --from 2026-11-28T14:00 --to 2026-11-28T14:05
  trackd export /srv/recordings/door --coco-frames first-minute.json --to 60

What the prompts of a project changed since it was tracked is tracked first; the files equal those
of trackd track with the project's prompts.json, byte for byte. Of a recording, the frames that
were tracked are written with the masks that were sent.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `trackd`."""
    parser = subparsers.add_parser(
        "export",
        help="write the masks of a project or a recording, in any format",
        description="Writes what was tracked: in a project of trackd studio or of track --project, "
        "or in a recording of a stream of trackd serve.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="the folder of a project, or of a recorded stream",
    )
    group = parser.add_argument_group("output")
    export_options.add_options(group)
    group.add_argument("--quiet", action="store_true", help="show no progress")
    group.add_argument("--json", action="store_true", help="print the summary as JSON")
    part = parser.add_argument_group("part of a recording")
    part.add_argument(
        "--from", dest="start", type=moment, metavar="TIME", help=f"begin there: {MOMENT_HELP}"
    )
    part.add_argument("--to", dest="stop", type=moment, metavar="TIME", help="end before that time")


def run(args: argparse.Namespace) -> int:
    """Write what was tracked, print the summary and return the exit code.

    Raises:
        TrackdError: Wrong usage, another program tracks the project, or something is broken.
        StreamError: The source cannot be opened or decoded.
    """
    from tracker.annotate.outputs import Outputs
    from tracker.replay.recording import is_recording

    paths = export_options.given(args)
    if not paths:
        raise UsageError("nothing to write", "give --export FORMAT:PATH, such as davis:masks")
    outputs = Outputs.of(paths, settings=export_options.settings(args))
    if (args.folder / "project.json").exists():
        return _export_project(args, outputs)
    if is_recording(args.folder):
        return _export_recording(args, outputs)
    raise UsageError(
        f"{args.folder} holds neither a project nor a recording",
        "give the folder of a project, or that of a stream in record.dir",
    )


def _export_project(args: argparse.Namespace, outputs: "Outputs") -> int:
    """Track what is missing, and write."""
    from tracker.cli.failures import INTERRUPTED
    from tracker.cli.interrupt import stop_on_signal
    from tracker.cli.progress import show_progress
    from tracker.project.folder import Project
    from tracker.project.run import run_project

    if (args.start, args.stop) != (None, None):
        raise UsageError("--from and --to are for recordings", "leave them out for a project")
    project = Project.open(args.folder)
    with stop_on_signal() as stop_asked:
        summary = run_project(
            project, outputs, progress=show_progress(quiet=args.quiet), stop_asked=stop_asked
        )
    print_summary(summary, project.folder, as_json=args.json)
    return INTERRUPTED if summary.stopped_early else 0


def _export_recording(args: argparse.Namespace, outputs: "Outputs") -> int:
    """Write the masks that were sent."""
    from tracker.cli.failures import INTERRUPTED
    from tracker.cli.interrupt import stop_on_signal
    from tracker.cli.progress import show_progress
    from tracker.replay.export import export_recording
    from tracker.replay.recording import open_recording

    recording = open_recording(args.folder)
    with stop_on_signal() as stop_asked:
        summary = export_recording(
            recording,
            outputs,
            start=args.start,
            stop=args.stop,
            progress=show_progress(quiet=args.quiet),
            stop_asked=stop_asked,
        )
    _print_recording(summary, recording.folder, as_json=args.json)
    return INTERRUPTED if summary.stopped_early else 0


def print_summary(summary: "ProjectSummary", folder: Path, *, as_json: bool) -> None:
    """Print what a run over a project did."""
    if as_json:
        _print_json({"project": str(folder)}, summary)
        return
    lines = [f"project {folder}: tracked {summary.tracked} frames, wrote {summary.exported}"]
    lines += [f"  {kind}: {path}" for kind, path in summary.outputs.items()]
    if summary.stopped_early:
        lines.append("  stopped early; the same command goes on from here")
    _print_lines(lines)


def _print_recording(summary: "RecordingSummary", folder: Path, *, as_json: bool) -> None:
    if as_json:
        _print_json({"recording": str(folder)}, summary)
        return
    when = f", {summary.first} to {summary.last}" if summary.exported else ""
    lines = [f"recording {folder}: wrote {summary.exported} frames{when}"]
    lines += [f"  {note}" for note in summary.notes]
    lines += [f"  {kind}: {path}" for kind, path in summary.outputs.items()]
    if summary.stopped_early:
        lines.append("  stopped early; what was written is whole up to there")
    _print_lines(lines)


def _print_json(where: dict[str, str], summary: "ProjectSummary | RecordingSummary") -> None:
    import json
    from dataclasses import asdict

    print(json.dumps({**where, **asdict(summary)}))


def _print_lines(lines: list[str]) -> None:
    from tracker.cli.printable import printable

    print("\n".join(map(printable, lines)))
