"""From a model's name to a network that is ready to track."""

from pathlib import Path

import torch
from sam2.modeling.sam2_base import SAM2Base

from tracker.errors import ModelError, UsageError
from tracker.models.checkpoints import checkpoint_path
from tracker.models.digest import file_sha256
from tracker.models.fast_memory import use_fast_memory
from tracker.models.faster import speed_up_model
from tracker.models.fused_conv import can_fuse, fuse_convolutions
from tracker.models.model import InputSpec, Model
from tracker.models.official import OFFICIAL_INPUT, build_official
from tracker.models.pico import build_pico, read_pico_config
from tracker.models.registry import ModelSpec, find_spec
from tracker.models.state import load_strictly, read_state


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
        dtype: "fp32"; "bf16" (autocast over float32 weights); "auto" is bf16 where the hardware
            computes in it, else fp32.

    Raises:
        UnknownModelError: No such name.
        UsageError: The device or the dtype is unknown, or not available here.
        ModelError: The weights are missing, damaged, or of another architecture.
    """
    spec = find_spec(name)
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    path = checkpoint or checkpoint_path(spec)
    if checkpoint is None and not path.is_file():
        raise _no_weights(spec, path)
    state = read_state(path)
    network, input_spec, config = _build(spec, path)
    load_strictly(network, state, path=path, config=config)
    network.eval().requires_grad_(False)
    speed_up_model(network)
    network.to(chosen_device)
    if chosen_device.type == "cpu" and can_fuse():
        use_fast_memory(network, chosen_dtype)
    if spec.embedded and chosen_device.type == "cpu":  # its convolutions run in half the time
        network.image_encoder.to(memory_format=torch.channels_last)
        if chosen_dtype == torch.bfloat16 and can_fuse():
            fuse_convolutions(network.image_encoder.trunk)
    return Model(
        name,
        network,
        chosen_device,
        chosen_dtype,
        input_spec,
        file_sha256(path),
        resizable=spec.embedded,
    )


def _no_weights(spec: ModelSpec, path: Path) -> ModelError:
    if spec.embedded:
        return ModelError(f"the packaged weights {path} are gone", "install trackd again")
    return ModelError(
        f"no weights of {spec.name}: looked for {path}",
        f"run `trackd checkpoints get {spec.name}` or give --checkpoint FILE",
    )


def _build(spec: ModelSpec, weights: Path) -> tuple[SAM2Base, InputSpec, str]:
    """Return a network with random weights, its input, and the name of its configuration."""
    if not spec.embedded:
        return build_official(spec), OFFICIAL_INPUT, spec.config
    config_path = weights.with_suffix(".json")
    if not config_path.is_file():
        config_path = checkpoint_path(spec).with_name(spec.config)
    config = read_pico_config(config_path)
    return build_pico(config), config.input, str(config_path)


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


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return float32 or bfloat16; "auto" is bfloat16 where `device` computes in it.

    Raises:
        UsageError: Another name, or a GPU that cannot compute in bfloat16.
    """
    if dtype not in ("auto", "fp32", "bf16"):
        raise UsageError(f"unknown dtype {dtype!r}", "use auto, fp32 or bf16")
    if dtype == "fp32":
        return torch.float32
    supported = _has_bf16(device)
    if dtype == "bf16" and device.type == "cuda" and not supported:
        raise UsageError(f"{device} cannot compute in bf16", "use --dtype fp32")
    return torch.bfloat16 if dtype == "bf16" or supported else torch.float32


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        probe = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
        return probe is not None and bool(probe())
    return False
