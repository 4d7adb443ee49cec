"""The streaming engine: a session over a video model, with memories in preallocated rings."""

from tracker.engine import snapshot
from tracker.engine.budget import FULL, ComputeBudget
from tracker.engine.policy import OFFICIAL, POLICIES, Policy
from tracker.engine.prefetch import Helper
from tracker.engine.session import Session

__all__ = [
    "FULL",
    "OFFICIAL",
    "POLICIES",
    "ComputeBudget",
    "Helper",
    "Policy",
    "Session",
    "snapshot",
]
