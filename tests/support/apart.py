"""How far a result is from what is right."""

from torch import Tensor


def apart(ours: Tensor, theirs: Tensor) -> float:
    """Root of the mean squared difference, in deviations of what is right."""
    difference = (ours.double() - theirs.double()).square().mean()
    return float((difference / theirs.double().var()).sqrt())
