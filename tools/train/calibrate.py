"""Measures what an exported network's trunk gives: `python -m tools.train.calibrate NAME PACK`.

The image encoder computes in 8-bit integers where the processor is good at it, and needs to know
how far the outputs of its blocks reach (`tracker.models.optim.int8.trunk`).
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Arguments
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.train.camera import random_camera, random_colours
from tools.train.packed import Pack
from tools.train.stills import random_picture
from tracker.errors import ModelError, OutputError, TrackdError
from tracker.models import InputSpec
from tracker.models.optim.int8.trunk import can_be_quantized, trunk_blocks
from tracker.models.pico.build import build_pico, read_pico_config
from tracker.models.pico.top_down import TopDown
from tracker.models.preprocess import image_tensor, resize_to_square
from tracker.models.state_dict import load_strictly, read_state

PICTURES = 160  # stills; the first frames of all videos besides
SEED = 0

Ranges = tuple[tuple[float, float], ...]


def main(argv: Arguments[str] | None = None) -> int:
    """Run the command; return 0, or 1 for a failure."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.train.calibrate",
        description="Write the ranges of a pico's trunk into the configuration beside its weights.",
    )
    parser.add_argument("weights", type=Path, metavar="NAME.safetensors")
    parser.add_argument("pack", type=Path, help="folder that tools.train.pack wrote")
    options = parser.parse_args(argv)
    try:
        calibrate(options.weights, Pack(options.pack))
    except TrackdError as err:
        print(f"calibrate: {err}", file=sys.stderr)
        return err.exit_code
    return 0


def calibrate(weights: Path, pack: Pack) -> None:
    """Measure a trunk's ranges on pictures of a pack, and write them into `NAME.json`.

    Raises:
        ModelError: The weights or their configuration cannot be read, or the trunk is none that
            can be quantized.
        OutputError: The configuration cannot be written.
    """
    path = weights.with_suffix(".json")
    config = read_pico_config(path)
    network = build_pico(config)
    load_strictly(network, read_state(weights), path=weights, config=str(path))
    trunk = network.image_encoder.trunk.eval()
    ranges = trunk_ranges(trunk, sample_pictures(config.input, pack))
    measured = config.model_copy(update={"trunk_ranges": ranges})
    try:
        path.write_text(measured.model_dump_json(indent=2) + "\n")
    except OSError as err:
        raise OutputError(f"cannot write {path}: {err.strerror}", "check its folder") from err


@torch.inference_mode()
def trunk_ranges(trunk: nn.Module, pictures_13ss: Iterable[Tensor]) -> Ranges:
    """Ranges over some pictures [1, 3, size, size], as `int8.trunk.quantize` wants them.

    Raises:
        ModelError: The trunk is none that can be quantized.
    """
    if not can_be_quantized(trunk):
        raise ModelError("this trunk is not of the kind that can be quantized", "leave it")
    blocks = list(trunk_blocks(trunk))
    ends: dict[object, list[float]] = {key: [] for key in blocks}

    def note(key: object, out_nchw: Tensor) -> None:
        ends.setdefault(key, []).extend(end.item() for end in out_nchw.aminmax())

    def note_block(block: nn.Module, _: object, out_nchw: Tensor) -> None:
        note(block, out_nchw)

    def note_steps(top_down: TopDown, given: tuple[list[Tensor]], _: object) -> None:
        for name, out_nchw in top_down.steps(*given)._asdict().items():
            note(name, out_nchw)

    hooks = [block.register_forward_hook(note_block) for block in blocks]
    if isinstance(trunk.top_down, TopDown):
        hooks.append(trunk.top_down.register_forward_hook(note_steps))
    for picture_13ss in pictures_13ss:
        trunk(picture_13ss)
    for hook in hooks:
        hook.remove()
    return tuple((min(values), max(values)) for values in ends.values())


def sample_pictures(spec: InputSpec, pack: Pack) -> Iterator[Tensor]:
    """Stills as several cameras may show them, and the first frames of videos."""
    random = np.random.default_rng(SEED)
    for _ in range(PICTURES):
        picture = random_colours(random).apply(random_picture(pack, random))
        yield _input(random_camera(random).take(picture, random), spec)
    for videos in pack.index.videos.values():
        yield from (_input(pack.image(frames[0].image), spec) for frames in videos.values())


def _input(picture_bgr: NDArray[np.uint8], spec: InputSpec) -> Tensor:
    rgb = np.asarray(cv2.cvtColor(picture_bgr, cv2.COLOR_BGR2RGB), np.uint8)
    return image_tensor(resize_to_square(rgb, spec), spec)


if __name__ == "__main__":
    raise SystemExit(main())
