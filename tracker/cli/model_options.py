"""Options that choose the model, of the commands that load one."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracker.models import Model


def add_options(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """Add the options, and give their group."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", default="pico", metavar="NAME", help="pico (default), sam2.1-tiny, ..."
    )
    group.add_argument(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="weights to load instead: a file, or a folder that transformers saved",
    )
    group.add_argument("--device", default="auto", help="auto (default), cpu, cuda or mps")
    group.add_argument("--dtype", default="auto", choices=["auto", "fp32", "bf16", "int8"])
    return group


def load(args: argparse.Namespace) -> "Model":
    """Load the model that the options name.

    Raises:
        TrackdError: There is none, or it cannot be loaded.
    """
    from tracker.models import load_model

    return load_model(args.model, checkpoint=args.checkpoint, device=args.device, dtype=args.dtype)
