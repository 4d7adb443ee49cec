"""The same weights for pictures of another size."""

import copy
from dataclasses import replace

import torch
from sam2.modeling.sam2_base import SAM2Base

from tracker.errors import UsageError
from tracker.models.model import SIZE_STEP, SMALLEST_SIZE, Model


def resized(model: Model, size: int) -> Model:
    """The model for pictures of `size` pixels a side; both share all weights.

    What was made is kept with the model, so that going to and fro costs nothing.

    Args:
        model: One that is `resizable`.
        size: A multiple of 32, at least 64 and at most the size that the model was loaded for.

    Raises:
        UsageError: The model's weights belong to one size, or it takes no such size.
    """
    if size == model.input.size:
        return model
    if not model.resizable:
        raise UsageError(f"{model.name} takes pictures of {model.input.size} pixels", "keep them")
    largest = model.full_size
    if size % SIZE_STEP or not SMALLEST_SIZE <= size <= largest:
        raise UsageError(
            f"{model.name} takes no pictures of {size} pixels",
            f"use a multiple of {SIZE_STEP} from {SMALLEST_SIZE} to {largest}",
        )
    model.sizes.setdefault(model.input.size, model)
    if size not in model.sizes:
        network = with_shared_weights(model.network)
        _set_size(network, size)
        model.sizes[size] = replace(model, network=network, input=replace(model.input, size=size))
    return model.sizes[size]


def with_shared_weights(network: SAM2Base) -> SAM2Base:
    """A copy with modules and settings of its own over the same tensors."""
    weights = [*network.parameters(), *network.buffers()]
    with torch.inference_mode():  # the caches may hold tensors of a run under it
        return copy.deepcopy(network, {id(tensor): tensor for tensor in weights})


def _set_size(network: SAM2Base, size: int) -> None:
    side = size // network.backbone_stride
    network.image_size = size
    network.sam_image_embedding_size = side
    prompts = network.sam_prompt_encoder
    prompts.input_image_size = (size, size)
    prompts.image_embedding_size = (side, side)
    prompts.mask_input_size = (4 * side, 4 * side)
