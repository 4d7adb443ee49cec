"""Families whose networks are classes of transformers."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from tracker.models.hugging_face.checkpoint import load_network, read_config
from tracker.models.hugging_face.network import HuggingFaceModel
from tracker.models.model import InputSpec
from tracker.models.optim.plan import Target
from tracker.models.precision import choose_precision
from tracker.models.registry import ModelSpec


class HuggingFaceFamily(ABC):
    """A family of a class of transformers; a `Family` once its parts are filled in.

    Attributes:
        trunk: Kind of the image trunk, as `Target.trunk`.
        adapter: What its networks track as.
        input: Its pictures, but for their size, which is the configuration's.
    """

    trunk: ClassVar[Literal["vit", "repvit"]]
    adapter: ClassVar[type[HuggingFaceModel]]
    input: ClassVar[InputSpec]

    @abstractmethod
    def network_class(self) -> Any:
        """The class of its networks; imports transformers.

        Raises:
            UsageError: transformers is not installed.
        """

    @abstractmethod
    def default_config(self) -> Any:
        """The configuration of its published weights."""

    def target(
        self,
        spec: ModelSpec,
        weights: Path,
        device: torch.device,
        dtype: str,
        off: frozenset[str],
    ) -> Target:
        """See `Family.target`."""
        return Target(
            device.type,
            choose_precision(dtype, device),
            self.input_of(read_config(weights, self.default_config())),
            modules="transformers",
            trunk=self.trunk,
        )

    def build(self, spec: ModelSpec, weights: Path) -> nn.Module:
        """See `Family.build`."""
        config = read_config(weights, self.default_config())
        return load_network(self.network_class(), config, weights)

    def adapt(self, network: nn.Module, spec: ModelSpec, target: Target) -> HuggingFaceModel:
        """See `Family.adapt`."""
        return self.adapter(network, target.input)

    def input_of(self, config: Any) -> InputSpec:
        """The pictures that networks of a configuration expect."""
        return InputSpec(config.image_size, self.input.mean, self.input.std, self.input.resize)
