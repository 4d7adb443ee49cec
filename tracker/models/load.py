"""Loading: from a model's name to an optimized network with its weights."""

import pkgutil
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from tracker.errors import ModelError, UsageError
from tracker.models.checkpoints import checkpoint_path
from tracker.models.digest import file_sha256
from tracker.models.model import Model
from tracker.models.optim.plan import Target, optimize, switched_off
from tracker.models.pico.build import PicoConfig, build_pico, read_pico_config
from tracker.models.precision import choose_precision, torch_dtype
from tracker.models.registry import ModelSpec, find_spec
from tracker.models.sam2.adapter import Sam2Model
from tracker.models.sam2.build import OFFICIAL_INPUT, build_official
from tracker.models.state_dict import load_strictly, read_state

#: Of a family of its own: from its row, given weights, the device and the name of a dtype.
Loader = Callable[[ModelSpec, Path | None, torch.device, str], Model]


def load_model(
    name: str,
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    without: Iterable[str] = (),
) -> Model:
    """Build a model of the registry and load its weights.

    Args:
        name: A name of the registry.
        checkpoint: Weights to load instead of those of the package or the models directory:
            `.safetensors`, or an official `.pt`. A configuration beside pico's weights, of the
            same name with `.json`, is used in place of the packaged one.
        device: "auto" takes cuda, else mps, else the CPU; or a torch device such as "cuda:1".
        dtype: "auto", "fp32", "bf16" or "int8", see `choose_precision`.
        without: Optimizations to switch off, by their names in `tracker.models.optim.plan.PLAN`;
            those in $TRACKD_WITHOUT, separated by commas, are off too.

    Raises:
        UnknownModelError: No such name.
        UsageError: The device, the dtype or an optimization is unknown, or not available here.
        ModelError: The weights are missing, damaged, or of another architecture.
    """
    spec, off = find_spec(name), switched_off(without)
    chosen_device = choose_device(device)
    if spec.loader is not None:
        load: Loader = pkgutil.resolve_name(spec.loader)
        return load(spec, checkpoint, chosen_device, dtype)
    path = checkpoint or checkpoint_path(spec)
    if checkpoint is None and not path.is_file():
        raise _no_weights(spec, path)
    state = read_state(path)
    pico = pico_config(spec, path)
    target = _target(spec, pico, chosen_device, dtype, off)
    network = build_official(spec) if pico is None else build_pico(pico)
    config = spec.config if pico is None else str(_pico_config_path(spec, path))
    load_strictly(network, state, path=path, config=config)
    network.eval().requires_grad_(False)
    on = optimize(network, target, off)
    network.to(chosen_device)
    sam2 = Sam2Model(
        network,
        target.input,
        quantized=target.precision == "int8",
        resizable=spec.embedded,
    )
    return Model(
        name,
        sam2,
        chosen_device,
        torch_dtype(target.precision),
        target.input,
        file_sha256(path),
        int8=target.precision == "int8",
        optimizations=on,
        license=spec.license if checkpoint is None else None,
    )


def choose_target(
    spec: ModelSpec, weights: Path, device: torch.device, dtype: str, off: frozenset[str]
) -> Target:
    """The target that `load_model` would optimize a network for.

    Args:
        spec: The model.
        weights: Its weights, which need not exist.
        device: Where it will run.
        dtype: See `choose_precision`.
        off: Optimizations that are switched off, see `tracker.models.optim.plan.switched_off`.

    Raises:
        UsageError: The precision is not to be had here.
        ModelError: The configuration beside the weights cannot be read.
    """
    return _target(spec, pico_config(spec, weights), device, dtype, off)


def _target(
    spec: ModelSpec,
    pico: PicoConfig | None,
    device: torch.device,
    dtype: str,
    off: frozenset[str],
) -> Target:
    if dtype == "int8" and "int8" in off:
        raise UsageError("int8 is asked for and switched off", "use --dtype auto, or switch it on")
    ranges = None if pico is None or "int8" in off else pico.trunk_ranges
    return Target(
        device.type,
        choose_precision(dtype, device, int8=ranges is not None),
        OFFICIAL_INPUT if pico is None else pico.input,
        embedded=spec.embedded,
        trunk_ranges=ranges,
    )


def _no_weights(spec: ModelSpec, path: Path) -> ModelError:
    if spec.embedded:
        return ModelError(f"the packaged weights {path} are gone", "install trackd again")
    return ModelError(
        f"no weights of {spec.name}: looked for {path}",
        f"run `trackd checkpoints get {spec.name}` or give --checkpoint FILE",
    )


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
