"""The mean of several exported weights: `python -m tools.train.average A B ... --out MEAN`.

Points of one run, far apart, often agree better with what none of them saw than the last of them
(stochastic weight averaging, Izmailov et al. 2018).
"""

import argparse
import sys
from collections.abc import Sequence as Arguments
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tracker.errors import ModelError, OutputError, TrackdError
from tracker.models.state_dict import read_state


def main(argv: Arguments[str] | None = None) -> int:
    """Run the command; return 0, or 1 for a failure."""
    parser = argparse.ArgumentParser(prog="python -m tools.train.average", description=__doc__)
    parser.add_argument("weights", type=Path, nargs="+", metavar="NAME.safetensors")
    parser.add_argument("--out", type=Path, required=True, metavar="MEAN.safetensors")
    options = parser.parse_args(argv)
    try:
        average(options.weights, options.out)
    except TrackdError as err:
        print(f"average: {err}", file=sys.stderr)
        return err.exit_code
    return 0


def average(paths: list[Path], out: Path) -> None:
    """Write the mean of weights of one architecture, fp16.

    Raises:
        ModelError: A file cannot be read, or has other tensors than the first.
        OutputError: The mean cannot be written.
    """
    first, *others = [(path, read_state(path)) for path in paths]
    for path, state in others:
        if {n: t.shape for n, t in state.items()} != {n: t.shape for n, t in first[1].items()}:
            raise ModelError(
                f"{path} has other tensors than {first[0]}", "average one architecture"
            )
    states = [first[1], *(state for _, state in others)]
    mean = {name: _mean([state[name] for state in states]) for name in first[1]}
    try:
        save_file(mean, out)
    except OSError as err:
        raise OutputError(f"cannot write {out}: {err.strerror}", "choose another place") from err


def _mean(tensors: list[Tensor]) -> Tensor:
    """Their mean, fp16; what counts something is the first's."""
    if not tensors[0].is_floating_point():
        return tensors[0]
    return torch.stack([tensor.float() for tensor in tensors]).mean(dim=0).half()


if __name__ == "__main__":
    raise SystemExit(main())
