"""Interface of a family of models to the loader; each has one in the `family.py` of its folder."""

from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from tracker.models.base import VideoModel
from tracker.models.optim.plan import Target
from tracker.models.registry import ModelSpec


class Family(Protocol):
    """A family of models: what its networks are optimized for, and how one is built."""

    def target(
        self,
        spec: ModelSpec,
        weights: Path,
        device: torch.device,
        dtype: str,
        off: frozenset[str],
    ) -> Target:
        """The target that a network of the family is optimized for.

        Args:
            spec: The model.
            weights: Its weights, which need not exist.
            device: Where it will run.
            dtype: See `tracker.models.precision.choose_precision`.
            off: Optimizations that are switched off.

        Raises:
            UsageError: The precision is not to be had here.
            ModelError: The configuration beside the weights cannot be read.
        """

    def build(self, spec: ModelSpec, weights: Path) -> nn.Module:
        """The network with its weights, in float32 on the CPU.

        Raises:
            ModelError: The weights are damaged or of another architecture, or a package is missing.
        """

    def adapt(self, network: nn.Module, spec: ModelSpec, target: Target) -> VideoModel:
        """An optimized network, on its device, as what the engine tracks with."""
