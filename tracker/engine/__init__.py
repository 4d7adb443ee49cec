"""The streaming engine: a session over a video model, with memories in preallocated rings."""

from tracker.engine.budget import FULL, ComputeBudget
from tracker.engine.encode import encode, inference
from tracker.engine.masks import confine_to_box, mask_box, source_masks
from tracker.engine.memory_bank import MemoryShape
from tracker.engine.memory_policy import MEMORY_POLICIES
from tracker.engine.policy import OFFICIAL, POLICIES, Policy
from tracker.engine.prefetch import Helper
from tracker.engine.prompt_raster import carry_over, rasterize_prompts
from tracker.engine.refine import COARSE_SIDE, GuidedFilter
from tracker.engine.session import Session
from tracker.engine.snapshot import SNAPSHOT_VERSION, snapshot_version

__all__ = [
    "COARSE_SIDE",
    "FULL",
    "MEMORY_POLICIES",
    "OFFICIAL",
    "POLICIES",
    "SNAPSHOT_VERSION",
    "ComputeBudget",
    "GuidedFilter",
    "Helper",
    "MemoryShape",
    "Policy",
    "Session",
    "carry_over",
    "confine_to_box",
    "encode",
    "inference",
    "mask_box",
    "rasterize_prompts",
    "snapshot_version",
    "source_masks",
]
