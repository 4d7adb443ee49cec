"""The official SAM 2 and SAM 2.1 as a `Family`."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from tracker.models.optim.plan import Target
from tracker.models.precision import choose_precision
from tracker.models.registry import ModelSpec
from tracker.models.sam2.adapter import Sam2Model
from tracker.models.sam2.build import OFFICIAL_INPUT, build_official, read_image_size
from tracker.models.sam2.hugging_face_names import renamed
from tracker.models.state_dict import load_strictly, read_state


class Sam2Family:
    """Networks of the sam2 package, with weights of Meta's or of `Sam2VideoModel`'s names."""

    def target(
        self,
        spec: ModelSpec,
        weights: Path,
        device: torch.device,
        dtype: str,
        off: frozenset[str],
    ) -> Target:
        """See `Family.target`."""
        pictures = replace(OFFICIAL_INPUT, size=read_image_size(weights))
        return Target(device.type, choose_precision(dtype, device), pictures)

    def build(self, spec: ModelSpec, weights: Path) -> nn.Module:
        """See `Family.build`."""
        state = renamed(read_state(weights))
        network: nn.Module = build_official(spec, image_size=read_image_size(weights))
        load_strictly(network, state, path=weights, config=spec.config)
        return network

    def adapt(self, network: nn.Module, spec: ModelSpec, target: Target) -> Sam2Model:
        """See `Family.adapt`."""
        return Sam2Model(network, target.input)


FAMILY = Sam2Family()
