"""The models that are measured: by name, with weights wherever they can be had."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor

from tracker.errors import UsageError
from tracker.models import Model, find_spec, load_model
from tracker.models.checkpoints import checkpoint_path
from tracker.models.load import pico_config
from tracker.models.pico.build import build_pico, read_pico_config
from tracker.models.sam2.build import OFFICIAL_INPUT, build_official
from tracker.models.state_dict import load_strictly, read_state

CACHE = Path("out", "bench")
SEED = 0


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a model: their file, whose they are, and the side of the network's input."""

    path: Path
    origin: str
    input_px: int


def find_weights(name: str) -> Weights:
    """Weights of a model of the registry, or of `pico@PIXELS` with another side of its input.

    An official model whose file is not here gets random weights, kept in `out/bench`: speed does
    not depend on them. They say that every object is there.

    Raises:
        UnknownModelError: There is no such model.
        UsageError: The input of an official model was to have another size.
    """
    base, _, side = name.partition("@")
    spec = find_spec(base)
    path = checkpoint_path(spec)
    if side:
        if not spec.embedded or not side.isdecimal() or int(side) % 32 or int(side) == 0:
            raise UsageError(
                f"cannot make {name}",
                "pico@PIXELS takes a multiple of 32, as in "
                "pico@128; official models keep their size",
            )
        return Weights(_resized(path, int(side)), "the package's", int(side))
    pico = pico_config(spec, path)
    if pico is not None:
        return Weights(path, "the package's", pico.input.size)
    if path.is_file():
        return Weights(path, "the official", OFFICIAL_INPUT.size)
    path = CACHE / f"{base}-seed{SEED}.pt"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"model": seeded(build_official(spec), SEED).state_dict()}, path)
    return Weights(path, f"random (seed {SEED})", OFFICIAL_INPUT.size)


def _resized(weights: Path, side: int) -> Path:
    """A copy of pico's weights beside a configuration with another input."""
    folder = CACHE / f"pico-{side}"
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / weights.name
    config = read_pico_config(weights.with_suffix(".json"))
    text = config.model_copy(update={"input": replace(config.input, size=side)}).model_dump_json()
    copy.with_suffix(".json").write_text(text)
    if not copy.is_file() or copy.read_bytes() != weights.read_bytes():  # another release
        copy.write_bytes(weights.read_bytes())
    return copy


def seeded(network: SAM2Base, seed: int) -> SAM2Base:
    """Random weights that say that objects are there, so that there are masks to compare."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02 if parameter.ndim == 2 else 0.05)
    head = network.get_submodule("sam_mask_decoder.pred_obj_score_head")
    last = [module for module in head.modules() if isinstance(module, torch.nn.Linear)][-1]
    torch.nn.init.constant_(last.bias, 3.0)
    return network


def load(name: str, device: str, dtype: str) -> tuple[Model, str]:
    """The model as users load it, and whose its weights are."""
    weights = find_weights(name)
    base = name.partition("@")[0]
    model = load_model(base, checkpoint=weights.path, device=device, dtype=dtype)
    return model, weights.origin


def daemon_model(name: str, device: str, dtype: str) -> dict[str, str]:
    """The same for the configuration of a daemon."""
    path = find_weights(name).path.resolve()
    base = name.partition("@")[0]
    return {"name": base, "checkpoint": str(path), "device": device, "dtype": dtype}


def official_predictor(
    name: str, cls: type[SAM2VideoPredictor], device: torch.device
) -> SAM2VideoPredictor:
    """The official predictor with the very same weights, on `device`, ready to track."""
    weights = find_weights(name)
    spec = find_spec(name.partition("@")[0])
    pico = pico_config(spec, weights.path)
    predictor = build_official(spec, cls) if pico is None else build_pico(pico, cls)
    load_strictly(predictor, read_state(weights.path), path=weights.path, config=name)
    return predictor.eval().requires_grad_(False).to(device)
