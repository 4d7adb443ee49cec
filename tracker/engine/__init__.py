"""The streaming engine: a session over SAM 2's modules, memory in preallocated rings."""

from tracker.engine.budget import FULL, ComputeBudget
from tracker.engine.policy import OFFICIAL, POLICIES, Policy
from tracker.engine.session import Session

__all__ = ["FULL", "OFFICIAL", "POLICIES", "ComputeBudget", "Policy", "Session"]
