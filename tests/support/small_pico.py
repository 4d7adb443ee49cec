"""A model that is quick enough for tests of many frames."""

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from tracker.models import Model
from tracker.models.checkpoints import checkpoint_path
from tracker.models.pico.build import build_pico, read_pico_config
from tracker.models.registry import find_spec
from tracker.models.sam2.adapter import Sam2Model
from tracker.models.state_dict import load_strictly, read_state


@cache
def small_pico() -> Model:
    """pico at 128 pixels: the same code in a tenth of the time."""
    weights = checkpoint_path(find_spec("pico"))
    config = read_pico_config(weights.with_suffix(".json"))
    config = config.model_copy(update={"input": replace(config.input, size=128)})
    network = build_pico(config)
    load_strictly(network, read_state(weights), path=weights, config="pico at 128")
    network.eval().requires_grad_(False)
    cpu, sam2 = torch.device("cpu"), Sam2Model(network, config.input)
    return Model("pico-128", sam2, cpu, torch.float32, config.input, "pico-128")


def small_pico_of(folder: Path, size: int = 128) -> dict[str, str]:
    """The same in a file in `folder`, as a daemon's configuration names it."""
    weights = checkpoint_path(find_spec("pico"))
    config = read_pico_config(weights.with_suffix(".json"))
    config = config.model_copy(update={"input": replace(config.input, size=size)})
    folder.mkdir(parents=True, exist_ok=True)
    copy = shutil.copy(weights, folder / "small.safetensors")
    (folder / "small.json").write_text(config.model_dump_json())
    return {"name": "pico", "checkpoint": str(copy)}
