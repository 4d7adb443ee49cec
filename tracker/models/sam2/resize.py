"""Copies of a SAM 2 network over the same weights."""

import copy

import torch
from sam2.modeling.sam2_base import SAM2Base


def with_shared_weights(module: SAM2Base) -> SAM2Base:
    """A copy with modules and settings of its own over the same tensors."""
    weights = [*module.parameters(), *module.buffers()]
    with torch.inference_mode():  # the caches may hold tensors of a run under it
        return copy.deepcopy(module, {id(tensor): tensor for tensor in weights})


def set_size(module: SAM2Base, size: int) -> None:
    """Have a network take pictures of `size` pixels a side, in place."""
    side = size // module.backbone_stride
    module.image_size = size
    module.sam_image_embedding_size = side
    prompts = module.sam_prompt_encoder
    prompts.input_image_size = (size, size)
    prompts.image_embedding_size = (side, side)
    prompts.mask_input_size = (4 * side, 4 * side)
