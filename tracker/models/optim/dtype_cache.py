"""Modules computed in one dtype, where autocast would mix two and convert between every two steps.

Autocast keeps norms, and with them the sums that follow, in float32 and products in bfloat16. On a
CPU a sum of one with the other costs several times what either costs alone.
"""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

Made = TypeVar("Made")
Module = TypeVar("Module", bound=nn.Module)


class DerivedCache(dict[tuple[object, ...], Made]):
    """What was made of a module's weights; a copy of the module makes its own."""

    def __deepcopy__(self, memo: object) -> "DerivedCache[Made]":
        return DerivedCache()


def compute_dtype(x: Tensor) -> torch.dtype:
    """What is computed in where x is: autocast's dtype where that is on, else x's own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def in_dtype(module: Module, dtype: torch.dtype) -> Module:
    """The module with its weights in `dtype`, made once. It must be one that is not trained."""
    first = next(module.parameters())
    if first.dtype == dtype:
        return module
    kept: DerivedCache[Module] = module.__dict__.setdefault("_in_dtype", DerivedCache())
    key = (dtype, first.device)
    if key not in kept:
        kept[key] = deepcopy(module).to(dtype)
    return kept[key]
