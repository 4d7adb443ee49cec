"""Loading: from a model's name to an optimized network with its weights."""

import logging
import pkgutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from tracker.errors import ModelError, UsageError
from tracker.models.checkpoints import checkpoint_path, gated, weights_file
from tracker.models.digest import file_sha256
from tracker.models.family import Family
from tracker.models.model import Model
from tracker.models.optim.graphs.capture import CudaCapture
from tracker.models.optim.graphs.network import GraphedNetwork, PixelModel
from tracker.models.optim.plan import CUDA_GRAPHS, ENVIRONMENT, Target, optimize, switched_off
from tracker.models.precision import inference_in, torch_dtype
from tracker.models.registry import ModelSpec, find_spec

_LOG = logging.getLogger("trackd.models")


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
            `.safetensors`, an official `.pt`, or a folder with `model.safetensors` as transformers
            saves it. A configuration beside them is used in place of the packaged one: for pico's
            and EfficientTAM's the same name with `.json`, in a folder `config.json`.
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
    path = checkpoint or checkpoint_path(spec)
    if checkpoint is None and not path.exists():
        raise _no_weights(spec, path)
    family = find_family(spec)
    target = family.target(spec, path, chosen_device, dtype, off)
    network = family.build(spec, path).eval().requires_grad_(False)
    on = optimize(network, target, off)
    network.to(chosen_device)
    model = Model(
        name,
        family.adapt(network, spec, target),
        chosen_device,
        torch_dtype(target.precision),
        target.input,
        file_sha256(weights_file(path)),
        int8=target.precision == "int8",
        optimizations=on,
        license=spec.license if checkpoint is None else None,
    )
    return with_graphs(model) if CUDA_GRAPHS in on else model


def with_graphs(model: Model) -> Model:
    """The model with its CUDA graphs recorded; without, which is logged, where they cannot be."""
    assert isinstance(model.network, PixelModel)
    network = GraphedNetwork(model.network)
    try:
        with inference_in(model.dtype, model.device):
            network.record(CudaCapture(model.device), model.input.size)
    except RuntimeError as err:  # the device is out of memory, among others
        reason = str(err).partition("\n")[0]
        _LOG.warning(
            "no CUDA graphs, which costs speed alone: %s (%s=%s leaves them out)",
            reason,
            ENVIRONMENT,
            CUDA_GRAPHS,
        )
        on = tuple(name for name in model.optimizations if name != CUDA_GRAPHS)
        return replace(model, optimizations=on)
    return replace(model, network=network)


def find_family(spec: ModelSpec) -> Family:
    """The family of a model; imports it."""
    family: Family = pkgutil.resolve_name(spec.loader)
    return family


def choose_target(
    spec: ModelSpec, weights: Path, device: torch.device, dtype: str, off: frozenset[str]
) -> Target:
    """The target that `load_model` would optimize a network for; see `Family.target`."""
    return find_family(spec).target(spec, weights, device, dtype, off)


def _no_weights(spec: ModelSpec, path: Path) -> ModelError:
    if spec.embedded:
        return ModelError(f"the packaged weights {path} are gone", "install trackd again")
    if spec.gated is not None:
        return gated(spec, path)
    return ModelError(
        f"no weights of {spec.name}: looked for {path}",
        f"run `trackd checkpoints get {spec.name}` or give --checkpoint FILE",
    )


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
