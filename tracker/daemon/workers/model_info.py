"""Description of a model, for those who do not have it in their process."""

from typing import Self

from tracker.models import Model
from tracker.models.registry import WeightsLicense
from tracker.protocol.fields import Message


class ModelInfo(Message):
    """What the reply to `describe` says of a model; see `Model`."""

    name: str
    fingerprint: str
    device: str
    dtype: str
    input_size: int
    precision: str
    optimizations: tuple[str, ...]
    license: WeightsLicense | None

    @classmethod
    def of(cls, model: Model) -> Self:
        """The description of a model."""
        return cls(
            name=model.name,
            fingerprint=model.fingerprint,
            device=str(model.device),
            dtype=str(model.dtype).removeprefix("torch."),
            input_size=model.input.size,
            precision=model.precision,
            optimizations=model.optimizations,
            license=model.license,
        )
