"""A loaded model: a network, the pictures it expects, and where it runs."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field

from tracker.errors import UsageError
from tracker.models.base import VideoModel
from tracker.models.precision import Precision, has_amx
from tracker.models.registry import WeightsLicense

SMALLEST_SIZE, SIZE_STEP = 64, 32

_Channel = Annotated[float, Field(allow_inf_nan=False)]
_Spread = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The pictures that a network expects: RGB / 255, a square that ignores the aspect.

    Attributes:
        size: Side of the square in pixels, a multiple of 32.
        mean: Subtracted per channel, RGB.
        std: Divided by per channel, RGB.
        resize: "linear" is OpenCV's bilinear, "pil" is PIL's antialiased bicubic.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    size: Annotated[int, Field(ge=SMALLEST_SIZE, multiple_of=SIZE_STEP)]
    mean: tuple[_Channel, _Channel, _Channel]
    std: tuple[_Spread, _Spread, _Spread]
    resize: Literal["linear", "pil"]


@dataclass(frozen=True, slots=True)
class Model:
    """A network with its weights, ready to track.

    Attributes:
        name: The registry's name.
        network: The network on `device`, in eval mode, without gradients, float32 weights.
        device: Where the network lies.
        dtype: float32, or bfloat16 which means autocast.
        input: The pictures that the network expects.
        fingerprint: SHA-256 of the weights file, hex.
        int8: Whether the image encoder is quantized, see `tracker.models.optim.int8.trunk`.
        optimizations: Names of those that are on, see `tracker.models.optim.plan`.
        license: Of the weights; None where they are a user's own.
        sizes: The model for the sizes that it was used for, shared by all of them.
    """

    name: str
    network: VideoModel
    device: torch.device
    dtype: torch.dtype
    input: InputSpec
    fingerprint: str
    int8: bool = False
    optimizations: tuple[str, ...] = ()
    license: WeightsLicense | None = None
    sizes: "dict[int, Model]" = field(default_factory=dict, compare=False, repr=False)

    @property
    def full_size(self) -> int:
        """Side of the pictures that it was loaded for; those of `sizes` are smaller."""
        return max(self.sizes, default=self.input.size)

    @property
    def precision(self) -> Precision:
        """Precision that it computes in."""
        if self.int8:
            return "int8"
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"

    @property
    def depends_on_threads(self) -> bool:
        """True if the last bits of results depend on the number of CPU threads.

        Sums in float32 round in another order. Sums of integers do not round, but with AMX oneDNN
        chooses between kernels by the number of threads, and they scale those sums differently.
        """
        return self.precision == "fp32" or (self.int8 and has_amx())


def resized(model: Model, size: int) -> Model:
    """The model for pictures of `size` pixels a side; both share all weights.

    What was made is kept with the model, so that going to and fro costs nothing.

    Args:
        model: One whose network is resizable.
        size: A multiple of 32, at least 64 and at most the size that the model was loaded for.

    Raises:
        UsageError: The model's weights belong to one size, or it takes no such size.
    """
    if size == model.input.size:
        return model
    if not model.network.capabilities.resizable:
        raise UsageError(f"{model.name} takes pictures of {model.input.size} pixels", "keep them")
    largest = model.full_size
    if size % SIZE_STEP or not SMALLEST_SIZE <= size <= largest:
        raise UsageError(
            f"{model.name} takes no pictures of {size} pixels",
            f"use a multiple of {SIZE_STEP} from {SMALLEST_SIZE} to {largest}",
        )
    model.sizes.setdefault(model.input.size, model)
    if size not in model.sizes:
        network, spec = model.network.resized(size), replace(model.input, size=size)
        model.sizes[size] = replace(model, network=network, input=spec)
    return model.sizes[size]


def with_whole_memories(model: Model) -> Model:
    """The model as the official predictor runs it: a memory keeps every token."""
    network = model.network.with_whole_memories()
    return model if network is model.network else replace(model, network=network, sizes={})
