"""The command line of `python -m tools.bench`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from streams.errors import StreamError
from tools.bench import (
    busy,
    deadline,
    decode,
    e2e,
    finding_daemon,
    live,
    long,
    model,
    outputs,
    parity,
    refind,
    scale,
    studio,
    studio_soak,
    track,
    wire,
)
from tools.bench.machine import slug
from tools.bench.record import Record, Run
from tools.bench.report import markdown
from tracker.cli.failures import Parser
from tracker.cli.terminal import prepare_output
from tracker.errors import TrackdError

RESULTS = Path(__file__).parent / "results"
SUITES: dict[str, ModuleType] = {
    "decode": decode,
    "model": model,
    "track": track,
    "wire": wire,
    "e2e": e2e,
    "deadline": deadline,
    "finding-daemon": finding_daemon,
    "outputs": outputs,
    "parity": parity,
    "live": live,
    "long": long,
    "busy": busy,
    "studio": studio,
    "studio-soak": studio_soak,
    "refind": refind,
    "scale": scale,
}
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C.

    A suite that shows something (`live` and `long`: that memory does not grow) fails where it does
    not.
    """
    prepare_output()
    try:
        options = _parser().parse_args(argv)
        if options.suite == "report":
            return _report(options)
        return _measure(SUITES[options.suite], options)
    except (TrackdError, StreamError) as err:
        print(f"bench: error: {' '.join(str(err).split())}", file=sys.stderr)
        return err.exit_code
    except KeyboardInterrupt:
        print("bench: stopped; nothing of this run is kept", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m tools.bench",
        description="Measure; tools/bench/README.md is the protocol.",
    )
    suites = parser.add_subparsers(dest="suite", required=True, metavar="SUITE")
    for name, suite in SUITES.items():
        one = suites.add_parser(name, help=suite.HELP, description=suite.__doc__)
        suite.add_arguments(one)
        one.add_argument("--quick", action="store_true", help="seconds, to see that it works")
        one.add_argument(
            "--out",
            type=Path,
            metavar="FILE",
            help="the record that the run is added to; default: that of this machine and suite",
        )
    report = suites.add_parser("report", help="write tables and plots from the records")
    report.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    return parser


def _measure(suite: ModuleType, options: argparse.Namespace) -> int:
    if options.quick:
        options = argparse.Namespace(**(vars(options) | suite.QUICK))
    run: Run = suite.measure(options)
    path = options.out or RESULTS / slug(run.machine) / f"{run.suite}.json"
    Record.read(path).keeping(run).write(path)
    print("\n".join(markdown.section(run)))
    if run.failure:
        print(f"bench: {run.failure}", file=sys.stderr)
    return int(bool(run.failure))


def _report(options: argparse.Namespace) -> int:
    from tools.bench.report.write import write_report  # matplotlib, which only this needs

    for path in write_report(options.results):
        print(path)
    return 0
