"""Memory policies: which tracked frames an object remembers. To add one: its file, and a row."""

from collections.abc import Mapping
from types import MappingProxyType

from tracker.engine.memory_policy.all import AllFrames
from tracker.engine.memory_policy.base import AREAS, MemoryPolicy, ObjectPast
from tracker.engine.memory_policy.confident import ConfidentFrames, PresentFrames
from tracker.engine.memory_policy.distractor import DistractorAware

__all__ = ["AREAS", "MEMORY_POLICIES", "MemoryPolicy", "ObjectPast", "policy_name"]

_POLICIES = (AllFrames(), PresentFrames(), ConfidentFrames(), DistractorAware())
MEMORY_POLICIES: Mapping[str, MemoryPolicy] = MappingProxyType({p.name: p for p in _POLICIES})
#: What callers and snapshots of version 0.1 say.
_OLD_NAMES = {"sure": "confident", "rivals": "distractors"}


def policy_name(name: str) -> str:
    """The name of a memory policy, for that name or its older spelling.

    Raises:
        ValueError: There is no such policy; the message lists all.
    """
    name = _OLD_NAMES.get(name, name)
    if name not in MEMORY_POLICIES:
        raise ValueError(f"no memory policy {name!r}; use {', '.join(MEMORY_POLICIES)}")
    return name
