"""The models: a registry of names, and from a name to a network with its weights.

What needs torch is imported on first use, so that commands which load no network start at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tracker.models.registry import REGISTRY, ModelSpec, find_spec

if TYPE_CHECKING:
    from tracker.models.load import load_model
    from tracker.models.model import InputSpec, Model, resized, with_whole_memories

__all__ = [
    "REGISTRY",
    "InputSpec",
    "Model",
    "ModelSpec",
    "find_spec",
    "load_model",
    "resized",
    "with_whole_memories",
]

_DEFERRED = {
    "load_model": "load",
    "InputSpec": "model",
    "Model": "model",
    "resized": "model",
    "with_whole_memories": "model",
}


def __getattr__(name: str) -> Any:
    if name not in _DEFERRED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_DEFERRED[name]}"), name)
