"""A model that is quick enough for tests of many frames."""

import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from tracker.models import Model, load_model
from tracker.models.checkpoints import checkpoint_path
from tracker.models.pico.build import PicoConfig, build_pico, read_pico_config
from tracker.models.registry import find_spec
from tracker.models.sam2.adapter import Sam2Model
from tracker.models.state_dict import load_strictly, read_state


@cache
def small_pico(size: int = 128) -> Model:
    """pico at another size of its input: at 128 pixels the same code in a tenth of the time."""
    weights = checkpoint_path(find_spec("pico"))
    config = _config(size)
    network = build_pico(config)
    load_strictly(network, read_state(weights), path=weights, config=f"pico at {size}")
    network.eval().requires_grad_(False)
    cpu, sam2 = torch.device("cpu"), Sam2Model(network, config.input)
    return Model(f"pico-{size}", sam2, cpu, torch.float32, config.input, f"pico-{size}")


@cache
def optimized_small_pico() -> Model:
    """pico at 128 pixels as users load it, with what makes it fast."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(small_pico_of(Path(folder))["checkpoint"])
        return load_model("pico", checkpoint=weights, device="cpu", dtype="fp32")


def small_pico_of(folder: Path, size: int = 128) -> dict[str, str]:
    """The same in a file in `folder`, as a daemon's configuration names it."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = shutil.copy(checkpoint_path(find_spec("pico")), folder / "small.safetensors")
    (folder / "small.json").write_text(_config(size).model_dump_json())
    return {"name": "pico", "checkpoint": str(copy)}


def _config(size: int) -> PicoConfig:
    config = read_pico_config(checkpoint_path(find_spec("pico")).with_suffix(".json"))
    return config.model_copy(update={"input": replace(config.input, size=size)})
