"""EfficientTAM as a `Family`."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from tracker.models.efficienttam.build import build_efficienttam, read_architecture, renamed
from tracker.models.optim.plan import Target
from tracker.models.precision import choose_precision
from tracker.models.registry import ModelSpec
from tracker.models.sam2.adapter import Sam2Model
from tracker.models.sam2.build import OFFICIAL_INPUT
from tracker.models.state_dict import load_strictly, read_state


class EfficientTamFamily:
    """Networks of the sam2 package over a plain ViT, with its authors' weights."""

    def target(
        self,
        spec: ModelSpec,
        weights: Path,
        device: torch.device,
        dtype: str,
        off: frozenset[str],
    ) -> Target:
        """See `Family.target`."""
        size = read_architecture(spec.config, weights).image_size
        return Target(
            device.type,
            choose_precision(dtype, device),
            replace(OFFICIAL_INPUT, size=size),
            trunk="vit",
            high_res=False,
        )

    def build(self, spec: ModelSpec, weights: Path) -> nn.Module:
        """See `Family.build`."""
        arch = read_architecture(spec.config, weights)
        state = renamed(read_state(weights), arch)
        network: nn.Module = build_efficienttam(arch)
        load_strictly(network, state, path=weights, config=spec.name)
        return network

    def adapt(self, network: nn.Module, spec: ModelSpec, target: Target) -> Sam2Model:
        """See `Family.adapt`: the adapter is SAM 2's."""
        return Sam2Model(network, target.input)


FAMILY = EfficientTamFamily()
