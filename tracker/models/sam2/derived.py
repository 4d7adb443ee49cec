"""Cache of what is computed once of a network's weights, owned by whoever runs the network."""

from dataclasses import dataclass, field

from sam2.modeling.memory_attention import MemoryAttention
from torch import Tensor, nn

#: A module, and on what else the value depends.
Key = tuple[nn.Module, *tuple[object, ...]]


@dataclass(slots=True)
class Derived:
    """Tensors and modules derived from weights that do not change.

    Attributes:
        attention: Memory attentions with their weights in another dtype.
        projections: Value and output projections of an attention in one, weight and bias.
        rotations: Rotary encodings of the tokens of an image or a pooled map, complex [q, c / 2].
        image_positions: Positional encodings of the image for the mask decoder, [1, c, h, w].
        top_positions: Those of the coarsest features, which all images of a size share.
    """

    attention: dict[Key, MemoryAttention] = field(default_factory=dict)
    projections: dict[Key, tuple[Tensor, Tensor]] = field(default_factory=dict)
    rotations: dict[Key, Tensor] = field(default_factory=dict)
    image_positions: dict[Key, Tensor] = field(default_factory=dict)
    top_positions: dict[Key, Tensor] = field(default_factory=dict)
