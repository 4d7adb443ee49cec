"""From a model's name to a network that is ready to track."""

import pkgutil
from collections.abc import Callable
from pathlib import Path

import torch

from tracker.errors import ModelError, UsageError
from tracker.models.checkpoints import checkpoint_path
from tracker.models.digest import file_sha256
from tracker.models.model import Model
from tracker.models.optim.fused_conv import can_fuse, fuse_convolutions
from tracker.models.optim.fusion import speed_up_model
from tracker.models.optim.int8.trunk import quantize
from tracker.models.optim.memory_encoder import use_fast_memory
from tracker.models.pico.build import PicoConfig, build_pico, read_pico_config
from tracker.models.precision import Precision, choose_precision
from tracker.models.registry import ModelSpec, find_spec
from tracker.models.sam2.adapter import Sam2Model
from tracker.models.sam2.build import OFFICIAL_INPUT, build_official
from tracker.models.state_dict import load_strictly, read_state

#: Of a family of its own: from its row, given weights, the device and the name of a dtype.
Loader = Callable[[ModelSpec, Path | None, torch.device, str], Model]


def load_model(
    name: str, *, checkpoint: Path | None = None, device: str = "auto", dtype: str = "auto"
) -> Model:
    """Build a model of the registry and load its weights.

    Args:
        name: A name of the registry.
        checkpoint: Weights to load instead of those of the package or the models directory:
            `.safetensors`, or an official `.pt`. A configuration beside pico's weights, of the
            same name with `.json`, is used in place of the packaged one.
        device: "auto" takes cuda, else mps, else the CPU; or a torch device such as "cuda:1".
        dtype: "auto", "fp32", "bf16" or "int8", see `choose_precision`.

    Raises:
        UnknownModelError: No such name.
        UsageError: The device or the dtype is unknown, or not available here.
        ModelError: The weights are missing, damaged, or of another architecture.
    """
    spec = find_spec(name)
    chosen_device = choose_device(device)
    if spec.loader is not None:
        load: Loader = pkgutil.resolve_name(spec.loader)
        return load(spec, checkpoint, chosen_device, dtype)
    path = checkpoint or checkpoint_path(spec)
    if checkpoint is None and not path.is_file():
        raise _no_weights(spec, path)
    state = read_state(path)
    pico = pico_config(spec, path)
    ranges = None if pico is None else pico.trunk_ranges
    precision = choose_precision(dtype, chosen_device, int8=ranges is not None)
    chosen_dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    network = build_official(spec) if pico is None else build_pico(pico)
    config = spec.config if pico is None else str(_pico_config_path(spec, path))
    load_strictly(network, state, path=path, config=config)
    network.eval().requires_grad_(False)
    speed_up_model(network)
    network.to(chosen_device)
    if chosen_device.type == "cpu" and can_fuse():
        use_fast_memory(network, chosen_dtype)
    if spec.embedded and chosen_device.type == "cpu":  # its convolutions run in half the time
        network.image_encoder.to(memory_format=torch.channels_last)
        if precision == "int8" and pico is not None and ranges is not None:
            quantize(network.image_encoder, pico.input, ranges)
        elif precision == "bf16" and can_fuse():
            fuse_convolutions(network.image_encoder.trunk)
    pictures, int8 = OFFICIAL_INPUT if pico is None else pico.input, precision == "int8"
    sam2 = Sam2Model(network, pictures, quantized=int8, resizable=spec.embedded)
    return Model(name, sam2, chosen_device, chosen_dtype, pictures, file_sha256(path), int8=int8)


def _no_weights(spec: ModelSpec, path: Path) -> ModelError:
    if spec.embedded:
        return ModelError(f"the packaged weights {path} are gone", "install trackd again")
    return ModelError(
        f"no weights of {spec.name}: looked for {path}",
        f"run `trackd checkpoints get {spec.name}` or give --checkpoint FILE",
    )


def precision_of(spec: ModelSpec, weights: Path, wanted: str, device: torch.device) -> Precision:
    """What `load_model` would compute in.

    Raises:
        UsageError: That is not to be had here.
        ModelError: The configuration beside the weights cannot be read.
    """
    pico = pico_config(spec, weights)
    int8 = pico is not None and pico.trunk_ranges is not None
    return choose_precision(wanted, device, int8=int8)


def pico_config(spec: ModelSpec, weights: Path) -> PicoConfig | None:
    """The configuration of a pico; None for an official model.

    Raises:
        ModelError: It cannot be read.
    """
    if not spec.embedded:
        return None
    return read_pico_config(_pico_config_path(spec, weights))


def _pico_config_path(spec: ModelSpec, weights: Path) -> Path:
    """The configuration beside the weights, else the packaged one."""
    beside = weights.with_suffix(".json")
    return beside if beside.is_file() else checkpoint_path(spec).with_name(spec.config)


def choose_device(device: str) -> torch.device:
    """Return the torch device that `device` names; "auto" takes cuda, mps, cpu in that order.

    Raises:
        UsageError: There is no such device on this machine.
    """
    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    available = [kind for kind, count in counts.items() if count]
    if device == "auto":
        return torch.device(available[0])
    try:
        chosen = torch.device(device)
    except RuntimeError as err:
        raise UsageError(f"unknown device {device!r}", f"use auto, {', '.join(available)}") from err
    if (chosen.index or 0) >= counts.get(chosen.type, 0):
        raise UsageError(
            f"device {device!r} is not available here", f"use auto, {', '.join(available)}"
        )
    return chosen
