"""The models that are measured: by name, with weights wherever they can be had."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import nn

from tools.bench.small import save_small
from tracker.errors import UsageError
from tracker.models import Model, ModelSpec, find_spec, load_model
from tracker.models.checkpoints import checkpoint_path
from tracker.models.efficienttam.build import build_efficienttam, read_architecture
from tracker.models.hugging_face.family import HuggingFaceFamily
from tracker.models.load import choose_target, find_family
from tracker.models.pico.build import build_pico, read_pico_config
from tracker.models.pico.family import pico_config
from tracker.models.sam2.build import build_official, read_image_size
from tracker.models.sam2.hugging_face_names import renamed
from tracker.models.state_dict import load_strictly, read_state

CACHE = Path("out", "bench")
SEED = 0
#: Last layers of the heads that say whether an object is there, of sam2 and of transformers.
_PRESENCE = (
    "sam_mask_decoder.pred_obj_score_head.layers.2",
    "mask_decoder.pred_obj_score_head.proj_out",
)
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a model: their file, whose they are, and the side of the network's input."""

    path: Path
    origin: str
    input_px: int


def find_weights(name: str) -> Weights:
    """Weights of a model of the registry, of `pico@PIXELS` or of `NAME@small`.

    `pico@PIXELS` is pico with another side of its input, `NAME@small` a small network of a family.

    Another model whose file is not here gets random weights, kept in `out/bench`: speed does not
    depend on them. They say that every object is there.

    Raises:
        UnknownModelError: There is no such model.
        UsageError: There is no such size of the model.
    """
    base, _, side = name.partition("@")
    spec = find_spec(base)
    path, cpu = checkpoint_path(spec), torch.device("cpu")
    if side == "small":
        path = save_small(base, CACHE / f"{base}-small")
        input_px = choose_target(spec, path, cpu, "fp32", frozenset()).input.size
        return Weights(path, "random (seed 1)", input_px)
    if side:
        if not spec.embedded:
            raise UsageError(
                f"cannot make {name}",
                "official models keep their size; give pico@PIXELS, or NAME@small of some",
            )
        if not side.isdecimal() or int(side) % 32 or int(side) == 0:
            raise UsageError(
                f"cannot make {name}", "pico@PIXELS takes a multiple of 32, as in pico@128"
            )
        return Weights(_resized(path, int(side)), "the package's", int(side))
    input_px = choose_target(spec, path, cpu, "fp32", frozenset()).input.size
    if spec.embedded:
        return Weights(path, "the package's", input_px)
    if path.is_file():
        return Weights(path, "the official", input_px)
    path = CACHE / f"{base}-seed{SEED}.safetensors"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(seeded(random_network(spec), SEED).state_dict(), path)
    return Weights(path, f"random (seed {SEED})", input_px)


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


def random_network(spec: ModelSpec) -> nn.Module:
    """A network of any family but pico's with random weights, on the CPU, in training mode."""
    family = find_family(spec)
    if isinstance(family, HuggingFaceFamily):
        network: nn.Module = family.network_class()(family.default_config())
        return network
    of_sam2: nn.Module = sam2_network(spec, checkpoint_path(spec), SAM2Base)
    return of_sam2


def sam2_network(spec: ModelSpec, weights: Path, cls: type[SAM2Base]) -> SAM2Base:
    """A network of sam2's modules, EfficientTAM's or an official one, with random weights."""
    if spec.family == "efficienttam":
        return build_efficienttam(read_architecture(spec.config, weights), cls)
    return build_official(spec, cls, image_size=read_image_size(weights))


def seeded(network: Network, seed: int) -> Network:
    """Random weights that say that objects are there, so that there are masks to compare."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02 if parameter.ndim == 2 else 0.05)
    modules = dict(network.named_modules())
    (presence,) = (modules[name] for name in _PRESENCE if name in modules)
    assert isinstance(presence, nn.Linear)
    torch.nn.init.constant_(presence.bias, 3.0)
    return network


def load(name: str, device: str, dtype: str, without: Iterable[str] = ()) -> tuple[Model, str]:
    """The model as users load it, but for some optimizations, and whose its weights are."""
    weights = find_weights(name)
    base = name.partition("@")[0]
    model = load_model(base, checkpoint=weights.path, device=device, dtype=dtype, without=without)
    return model, weights.origin


def daemon_model(name: str, device: str, dtype: str) -> dict[str, str]:
    """The same for the configuration of a daemon."""
    path = find_weights(name).path.resolve()
    base = name.partition("@")[0]
    return {"name": base, "checkpoint": str(path), "device": device, "dtype": dtype}


def official_predictor(
    name: str, cls: type[SAM2VideoPredictor], device: torch.device
) -> SAM2VideoPredictor:
    """The official predictor with the very same weights, on `device`, ready to track.

    Raises:
        UsageError: The model is none of sam2's modules.
    """
    weights = find_weights(name)
    spec = find_spec(name.partition("@")[0])
    if isinstance(find_family(spec), HuggingFaceFamily):
        raise UsageError(f"{name} is none for the official predictor", "compare with transformers")
    if spec.embedded:
        predictor = build_pico(pico_config(spec, weights.path), cls)
    else:
        predictor = sam2_network(spec, weights.path, cls)
    load_strictly(predictor, renamed(read_state(weights.path)), path=weights.path, config=name)
    return predictor.eval().requires_grad_(False).to(device)
