"""Extensions of SAM 2's network: attributes of a module that official ones lack."""

from sam2.modeling.sam2_base import SAM2Base

WHOLE = 1  # the memory stride of official networks


def memory_stride(module: SAM2Base) -> int:
    """Side of the squares of tokens that a memory keeps the means of."""
    return int(getattr(module, "memory_stride", WHOLE))


def draws_prompts(module: SAM2Base) -> bool:
    """True if a network was trained to be shown prompts as rough masks, too."""
    return bool(getattr(module, "draws_prompts", False))


def follows_masks(module: SAM2Base) -> bool:
    """True if a network was trained to be shown the mask before on a tracked frame."""
    return bool(getattr(module, "follows_masks", False))


def has_fine_prompts(module: SAM2Base) -> bool:
    """True if a network was trained to be shown masks at full resolution, too."""
    return hasattr(module, "fine_prompts")


def look_distance(module: SAM2Base) -> float | None:
    """`Capabilities.look_distance` of a network for which it was measured."""
    distance: float | None = getattr(module, "look_distance", None)
    return distance
