"""The command line of `python -m tools.train`."""

import argparse
import math
import sys
import time
from collections.abc import Sequence as Arguments
from pathlib import Path

from tools.train.config import TrainConfig, read_config
from tools.train.trainer import Ending, Run
from tracker.cli.interrupt import stop_on_signal
from tracker.errors import TrackdError
from tracker.models.load import choose_device

EXIT_INTERRUPTED = 130


def main(argv: Arguments[str] | None = None) -> int:
    """Run the command; return 0, or 1 for a failure, 2 for wrong usage, 130 for Ctrl-C."""
    options = _parser().parse_args(argv)
    try:
        return _train(options)
    except TrackdError as err:
        print(f"train: {err}", file=sys.stderr)
        return err.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.train",
        description="Train a model of the registry on a pack of videos and stills.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML; see tools/train/configs")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN_DIR", help="the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in RUN_DIR")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, metavar="M", help="stop and save after so long"
    )
    parser.add_argument(
        "--init", metavar="FROM", help="weights, imagenet, random or a file; as model.init"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    return parser


def _train(options: argparse.Namespace) -> int:
    deadline_s = time.monotonic() + 60 * options.minutes
    config = read_config(options.config)
    if options.init is not None:
        config = _with_init(config, options.init)
    with stop_on_signal() as stop:
        run = Run(config, options.out, choose_device(options.device), resume=options.resume)
        ending = run.train(stop, deadline_s)
    if ending is Ending.DONE:
        print(f"all {config.steps} steps are done: {_best(run)}", file=sys.stderr)
        return 0
    print(
        f"stopped at step {run.standing.step} of {config.steps}, {ending}: {_best(run)}; "
        "go on with --resume",
        file=sys.stderr,
    )
    return EXIT_INTERRUPTED if ending is Ending.ASKED else 0


def _with_init(config: TrainConfig, init: str) -> TrainConfig:
    return config.model_copy(update={"model": config.model.model_copy(update={"init": init})})


def _best(run: Run) -> str:
    standing = run.standing
    if standing.best_score is None:
        return "not scored yet"
    return f"best held-out J&F {standing.best_score:.3f} at step {standing.best_step}"
