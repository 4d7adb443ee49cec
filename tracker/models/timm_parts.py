"""The parts of timm that networks are built of, imported without torch's compiler.

timm imports torchvision and all of its own models. One file of each asks torch's compiler for a
function while it is imported, and the compiler brings Triton and SymPy: 3 of 8 seconds and 150 MB
of every process, for what no network here uses. Stand-ins answer in its place for that moment; the
compiler itself is imported where somebody compiles.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

__all__ = [
    "Conv2dSame",
    "DepthwiseSeparableConv",
    "EfficientNetFeatures",
    "InvertedResidual",
    "VisionTransformerSAM",
    "create_model",
    "pad_same",
    "reparameterize_model",
]

_COMPILER, _UTILS = "torch._dynamo", "torch._dynamo.utils"


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Stand-ins for the modules of torch's compiler, unless it is imported already."""
    if _COMPILER in sys.modules:
        yield
        return
    compiler, utils = _Compiler(_COMPILER), _Utils(_UTILS)
    sys.modules.update({_COMPILER: compiler, _UTILS: utils})
    try:
        yield
    finally:
        del sys.modules[_COMPILER], sys.modules[_UTILS]
        vars(torch).pop("_dynamo", None)


class _Compiler(ModuleType):
    """The one function that timm's models call: a method that is not to be compiled."""

    @staticmethod
    def disable(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
        return function


class _Utils(ModuleType):
    """The one function that torchvision takes: it calls it where a compiled one would be used."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        from torch._dynamo.utils import is_compile_supported

        return bool(is_compile_supported(device_type))


with _without_compiler():
    from timm import create_model
    from timm.layers.conv2d_same import Conv2dSame
    from timm.layers.padding import pad_same
    from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
    from timm.models.efficientnet import EfficientNetFeatures
    from timm.models.vision_transformer_sam import VisionTransformerSAM
    from timm.utils.model import reparameterize_model
