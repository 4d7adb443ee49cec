"""pico as a `Family`."""

from pathlib import Path

import torch
from torch import nn

from tracker.errors import UsageError
from tracker.models.checkpoints import checkpoint_path
from tracker.models.optim.plan import Target
from tracker.models.pico.build import PicoConfig, build_pico, read_pico_config
from tracker.models.precision import choose_precision
from tracker.models.registry import ModelSpec
from tracker.models.sam2.adapter import Sam2Model
from tracker.models.state_dict import load_strictly, read_state


class PicoFamily:
    """Networks of pico, each with the configuration beside its weights, else the packaged one."""

    def target(
        self,
        spec: ModelSpec,
        weights: Path,
        device: torch.device,
        dtype: str,
        off: frozenset[str],
    ) -> Target:
        """See `Family.target`."""
        if dtype == "int8" and "int8" in off:
            raise UsageError(
                "int8 is asked for and switched off", "use --dtype auto, or switch it on"
            )
        config = pico_config(spec, weights)
        ranges = None if "int8" in off else config.trunk_ranges
        return Target(
            device.type,
            choose_precision(dtype, device, int8=ranges is not None),
            config.input,
            trunk="convolutional",
            trunk_ranges=ranges,
        )

    def build(self, spec: ModelSpec, weights: Path) -> nn.Module:
        """See `Family.build`."""
        state, path = read_state(weights), config_path(spec, weights)
        network: nn.Module = build_pico(read_pico_config(path))
        load_strictly(network, state, path=weights, config=str(path))
        return network

    def adapt(self, network: nn.Module, spec: ModelSpec, target: Target) -> Sam2Model:
        """See `Family.adapt`."""
        quantized = target.precision == "int8"
        return Sam2Model(network, target.input, quantized=quantized, resizable=True)


FAMILY = PicoFamily()


def pico_config(spec: ModelSpec, weights: Path) -> PicoConfig:
    """The configuration of a pico.

    Raises:
        ModelError: It cannot be read.
    """
    return read_pico_config(config_path(spec, weights))


def config_path(spec: ModelSpec, weights: Path) -> Path:
    """The configuration beside the weights, else the packaged one."""
    beside = weights.with_suffix(".json")
    return beside if beside.is_file() else checkpoint_path(spec).with_name(spec.config)
