"""Copies of modules in one dtype, where autocast would mix two and convert between layers.

Autocast keeps norms, and with them the sums that follow, in float32 and products in bfloat16. On a
CPU a sum of one with the other costs several times what either costs alone.
"""

from copy import deepcopy
from typing import TypeVar

import torch
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

Derived = TypeVar("Derived")
Module = TypeVar("Module", bound=nn.Module)


class DerivedCache(dict[tuple[object, ...], Derived]):
    """A cache of what is derived from a module's weights; a copy of the module has its own."""

    def __deepcopy__(self, memo: object) -> "DerivedCache[Derived]":
        return DerivedCache()


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype of products with x: autocast's where that is on, else x's own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def in_dtype(module: Module, dtype: torch.dtype) -> Module:
    """The module with its weights in `dtype`, cached. It must be one that is not trained."""
    first = next(module.parameters())
    if first.dtype == dtype:
        return module
    kept: DerivedCache[Module] = module.__dict__.setdefault("_in_dtype", DerivedCache())
    key = (dtype, first.device)
    if key not in kept:
        kept[key] = deepcopy(module).to(dtype)
    return kept[key]


def use_one_dtype(network: SAM2Base) -> None:
    """Let a network that is not trained compute its memory attention in one dtype, in place."""
    network.memory_attention.one_dtype = True  # read by `tracker.models.sam2.attention`


def use_composed_projections(network: SAM2Base) -> None:
    """Let a network that is not trained project what it recalls in one product, in place."""
    for module in network.memory_attention.modules():
        if isinstance(module, RoPEAttention):
            module.composed_projections = True  # read by `tracker.models.sam2.attention`
