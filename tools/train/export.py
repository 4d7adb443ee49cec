"""Writes a run as a model file: `python -m tools.train.export RUN_DIR OUT.safetensors`."""

import argparse
import sys
from collections.abc import Sequence as Arguments
from pathlib import Path

from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from tools.train.blueprint import Blueprint
from tools.train.checkpoint import Standing, load_run, load_tensors
from tools.train.config import TrainConfig
from tools.train.trainer import BEST_NAME, CONFIG_NAME, LAST_NAME
from tracker.errors import OutputError, TrackdError, UsageError


def main(argv: Arguments[str] | None = None) -> int:
    """Run the command; return 0, or 1 for a failure, 2 for wrong usage."""
    options = _parser().parse_args(argv)
    try:
        standing = export(options.run, options.out, last=options.last, size=options.size)
    except TrackdError as err:
        print(f"export: {err}", file=sys.stderr)
        return err.exit_code
    print(f"{options.out}: {standing.model} after {standing.step} steps")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.train.export",
        description="Write a run's averaged weights, fp16, and the configuration beside them.",
    )
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="folder of the run")
    parser.add_argument("out", type=Path, metavar="OUT", help="NAME.safetensors")
    parser.add_argument("--last", action="store_true", help="the newest, not the best scored")
    parser.add_argument("--size", type=int, metavar="PX", help="input; default as in the run")
    return parser


def export(folder: Path, out: Path, *, last: bool = False, size: int | None = None) -> Standing:
    """Write the averaged weights of a run, and for pico the configuration as NAME.json.

    Raises:
        UsageError: `out` is no `.safetensors`, or the size is none of a network.
        TrackdError: The run lacks what is asked for.
        OutputError: The files cannot be written.
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"{out} should end in .safetensors", "choose another name")
    blueprint = _blueprint(folder / CONFIG_NAME)
    average, standing = _averaged(folder, last=last)
    try:
        config = blueprint.pico_config(size or standing.size)
    except ValidationError as err:
        raise UsageError(f"no network takes an input of {size}", "use a multiple of 32") from err
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in average.items()
    }
    try:
        save_file(half, out)
        if config is not None:
            out.with_suffix(".json").write_text(config.model_dump_json(indent=2) + "\n")
    except OSError as err:
        raise OutputError(f"cannot write {out}: {err.strerror}", "choose another place") from err
    return standing


def _averaged(folder: Path, *, last: bool) -> tuple[dict[str, Tensor], Standing]:
    if last:
        weights, standing = load_run(folder / LAST_NAME)
        return weights.average, standing
    return load_tensors(folder / BEST_NAME)


def _blueprint(path: Path) -> Blueprint:
    try:
        return Blueprint.of(TrainConfig.model_validate_json(path.read_bytes()).model)
    except OSError as err:
        raise TrackdError(f"cannot read {path}: {err.strerror}", "name the run's folder") from err
    except ValidationError as err:
        raise TrackdError(f"{path} is no run's configuration", "name the run's folder") from err


if __name__ == "__main__":
    raise SystemExit(main())
