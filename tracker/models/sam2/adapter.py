"""SAM 2 as a `VideoModel`: the official releases, and pico, which is of their architecture."""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from tracker.models.base import Capabilities, Features, MemorySpec
from tracker.models.model import InputSpec
from tracker.models.preprocess import image_tensor, pixel_tensor
from tracker.models.sam2.extensions import (
    WHOLE,
    draws_prompts,
    follows_masks,
    look_distance,
    memory_stride,
)
from tracker.models.sam2.resize import set_size, with_shared_weights
from tracker.models.sam2.verbs import Sam2Network
from tracker.models.transfer import to_device


class Sam2Model(Sam2Network):
    """A network of the sam2 package that tracks.

    Attributes:
        module: In eval mode, without gradients.
        input: The pictures that it expects; their size is `module.image_size`.
        quantized: Whether the image encoder is.
        resizable: Whether the weights serve pictures of other sizes.
    """

    def __init__(
        self,
        module: SAM2Base,
        input_spec: InputSpec,
        *,
        quantized: bool = False,
        resizable: bool = False,
    ) -> None:
        super().__init__(module)
        self.input = input_spec
        self.quantized = quantized
        self.resizable = resizable

    @property
    def mask_side(self) -> int:
        """Side of low-resolution masks in pixels: a quarter of the input's."""
        return 4 * int(self.module.sam_image_embedding_size)

    @property
    def memory(self) -> MemorySpec:
        """Size and number of the memories."""
        module = self.module
        side: int = module.sam_image_embedding_size // memory_stride(module)
        return MemorySpec(
            recent=module.num_maskmem - 1,
            pointers=module.max_obj_ptrs_in_encoder - 1,
            tokens=side**2,
            map_channels=module.mem_dim,
            pointer_channels=module.hidden_dim,
        )

    @property
    def capabilities(self) -> Capabilities:
        """Abilities beyond the official SAM 2; some are those of pico's weights alone."""
        return Capabilities(
            draws_prompts=draws_prompts(self.module),
            follows_masks=follows_masks(self.module),
            finds_distractors=True,
            resizable=self.resizable,
            look_distance=look_distance(self.module),
        )

    def encode_image(self, picture_hwc: NDArray[np.uint8]) -> Features:
        """Features of a picture, RGB uint8 [size, size, 3]."""
        return self.encode_pixels(self.pixels(picture_hwc))

    def pixels(self, picture_hwc: NDArray[np.uint8]) -> Tensor:
        """A picture as `encode_pixels` takes it, [1, 3, size, size], on the network's device."""
        if self.quantized:
            return pixel_tensor(picture_hwc)
        device = self.module.no_mem_embed.device
        return to_device(image_tensor(picture_hwc, self.input), device)

    def resized(self, size: int) -> Self:
        """The same weights for pictures of `size` pixels a side."""
        module = with_shared_weights(self.module)
        set_size(module, size)
        return self._like(module)

    def with_whole_memories(self) -> Self:
        """The same weights with memories that keep every token; itself where they do."""
        if memory_stride(self.module) == WHOLE:
            return self
        module = with_shared_weights(self.module)
        module.memory_stride = WHOLE
        return self._like(module)

    def _like(self, module: SAM2Base) -> Self:
        return type(self)(module, self.input, quantized=self.quantized, resizable=self.resizable)
