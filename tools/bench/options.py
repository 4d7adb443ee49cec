"""Options that several suites share."""

import argparse
from pathlib import Path

from tools.bench.footage import Size, parse_size


def whole(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def wholes(text: str) -> tuple[int, ...]:
    """Whole numbers of at least 1, for argparse: "1,8,16"."""
    return tuple(whole(part) for part in text.split(","))


def names(text: str) -> tuple[str, ...]:
    """Names, for argparse: "ours,official"."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def sizes(text: str) -> tuple[Size, ...]:
    """Sizes, for argparse: "854x480,1280x720"."""
    return tuple(parse_size(part) for part in text.split(","))


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options for the model and the device."""
    parser.add_argument(
        "--model", default="pico", help="a name of `trackd checkpoints list`, or pico@PIXELS"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or mps")
    parser.add_argument("--dtype", default="auto", choices=["auto", "fp32", "bf16", "int8"])


def add_clip(
    parser: argparse.ArgumentParser, *, size: Size | None = None, scaled: bool = True
) -> None:
    """Add the options for the clip; `scaled` lets the frames be made another size."""
    parser.add_argument("--clip", type=Path, metavar="FILE", help="a video; default: the demo's")
    if scaled:
        help_text = "scale the frames to this first; default: " + (
            "not" if size is None else f"{size.width}x{size.height}"
        )
        parser.add_argument("--size", type=parse_size, metavar="WxH", default=size, help=help_text)


def add_rounds(
    parser: argparse.ArgumentParser, *, rounds: int, frames: int, warm_up: int, what: str = "frames"
) -> None:
    """Add the options for how often it is measured."""
    parser.add_argument("--rounds", type=whole, default=rounds, help="turns of each, A B A B")
    parser.add_argument("--frames", type=whole, default=frames, help=f"{what} in a turn")
    parser.add_argument("--warm-up", type=whole, default=warm_up, help=f"{what} before the first")
