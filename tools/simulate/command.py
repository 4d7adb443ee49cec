"""The command line of `python -m tools.simulate`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tools.simulate.constants import Constants, load_constants
from tools.simulate.fleet import FleetSimulation
from tools.simulate.outcome import Outcome
from tools.simulate.table import constants_table, report
from tracker.cli.failures import INTERRUPTED, Parser
from tracker.cli.terminal import drop_output, prepare_output
from tracker.errors import TrackdError, UsageError

MOST_CAMERAS = 100_000
MOST_YEARS = 100
YEAR_H = 8760.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C."""
    prepare_output()
    try:
        return _run(argv)
    except TrackdError as err:
        print(f"simulate: error: {' '.join(str(err).split())}", file=sys.stderr)
        return err.exit_code
    except OSError as err:
        drop_output()
        print(f"simulate: error: cannot write the tables: {err.strerror}", file=sys.stderr)
        return 1


def _run(argv: Sequence[str] | None) -> int:
    options = _parser().parse_args(argv)
    constants = load_constants(options.constants) if options.constants else Constants()
    if options.list_constants:
        print(constants_table(constants), end="", flush=True)
        return 0
    outcomes, interrupted = _simulate(constants, options.cameras, options.years, options.seed)
    if outcomes:
        print(report(constants, outcomes, options.seed), end="", flush=True)
    return INTERRUPTED if interrupted else 0


def _simulate(
    constants: Constants, sizes: Sequence[int], years: float, seed: int
) -> tuple[list[Outcome], bool]:
    """Outcomes of the sizes that were simulated before Ctrl-C, and whether it came."""
    outcomes: list[Outcome] = []
    try:
        for cameras in sizes:
            print(f"simulate: {cameras:,} cameras", file=sys.stderr)
            outcomes.append(FleetSimulation(constants, cameras, seed).run(years * YEAR_H))
    except KeyboardInterrupt:
        print("simulate: interrupted; the sizes before are below", file=sys.stderr)
        return outcomes, True
    return outcomes, False


def _parser() -> Parser:
    parser = Parser(
        prog="python -m tools.simulate",
        description="Simulate a fleet of daemons; docs/scale.md tells what is modelled.",
    )
    parser.add_argument("--cameras", type=_cameras, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--years", type=_years, default=30.0, help="simulated of each size")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument(
        "--constants", type=Path, metavar="FILE", help="YAML or JSON: `name: number` a line"
    )
    parser.add_argument(
        "--list-constants", action="store_true", help="print them with their origins, and end"
    )
    return parser


def _cameras(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_CAMERAS:
        raise UsageError(f"{text} is no number of cameras", f"give 1 to {MOST_CAMERAS}")
    return int(text)


def _years(text: str) -> float:
    try:
        years = float(text)
    except ValueError:
        years = 0.0
    if not 0 < years <= MOST_YEARS:
        raise UsageError(f"{text} is no number of years", f"give more than 0, up to {MOST_YEARS}")
    return years
