"""The stages of a frame, watched from outside while the engine runs as it always does."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base

from tools.bench.limits import wait_for
from tracker.models.base import VideoModel

#: The model's verbs, and what each is called in tables.
VERBS = {
    "encode_image": "image encoder",
    "condition": "memory attention",
    "decode": "mask decoder",
    "encode_memory": "memory encoder",
}
REST = "the rest"
STAGES = (*VERBS.values(), REST)
_MODULES = {
    "image encoder": ("image_encoder",),
    "memory attention": ("memory_attention", "obj_ptr_tpos_proj"),
    "mask decoder": ("sam_prompt_encoder", "sam_mask_decoder", "obj_ptr_proj"),
    "memory encoder": ("memory_encoder",),
}


@dataclass
class Watch:
    """Time spent in each stage since it was last read, and bytes that must be moved for it."""

    device: torch.device
    spent_s: dict[str, float] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)

    def split_ms(self, step: Callable[[], object]) -> dict[str, float]:
        """Milliseconds that one step spends in each stage; all of them sum to the step's time."""
        self.spent_s = dict.fromkeys(VERBS.values(), 0.0)
        self.moved = dict.fromkeys(VERBS.values(), 0)
        start_s = time.perf_counter()
        step()
        wait_for(self.device)
        rest_s = time.perf_counter() - start_s - sum(self.spent_s.values())
        return {name: 1000 * s for name, s in (self.spent_s | {REST: rest_s}).items()}

    def note(self, stage: str, verb: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a verb of the engine, and note its time and its tensors."""
        wait_for(self.device)
        start_s = time.perf_counter()
        result = verb(*args, **options)
        wait_for(self.device)
        self.spent_s[stage] += time.perf_counter() - start_s
        self.moved[stage] += tensor_bytes(args) + tensor_bytes(options) + tensor_bytes(result)
        return result


@contextmanager
def watching(watch: Watch, network: VideoModel) -> Iterator[None]:
    """Let every call of a verb of networks of one class pass through `watch`."""
    cls = type(network)
    plain = {name: getattr(cls, name) for name in VERBS}

    def watched(name: str) -> Callable[..., Any]:
        return lambda *args, **options: watch.note(VERBS[name], plain[name], *args, **options)

    try:
        for name in VERBS:
            setattr(cls, name, watched(name))
        yield
    finally:
        for name, verb in plain.items():
            setattr(cls, name, verb)


def tensor_bytes(value: Any) -> int:
    """Bytes of all tensors in a value, those of a network left out."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.nbytes
    if isinstance(value, torch.nn.Module):
        return 0
    if isinstance(value, dict):
        return sum(tensor_bytes(item) for item in value.values())
    if isinstance(value, tuple | list):
        return sum(tensor_bytes(item) for item in value)
    if is_dataclass(value):
        return sum(tensor_bytes(getattr(value, one.name)) for one in fields(value))
    return 0


def weight_bytes(net: SAM2Base, stage: str) -> int:
    """Bytes of the weights that a stage reads."""
    modules = [getattr(net, name, None) for name in _MODULES[stage]]
    weights = [w for module in modules if module is not None for w in module.parameters()]
    return sum(weight.nbytes for weight in weights)
