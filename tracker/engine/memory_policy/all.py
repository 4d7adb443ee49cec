"""Memory of every frame, as the official predictor keeps it."""

import numpy as np
from numpy.typing import NDArray

from tracker.engine.memory_policy.base import MemoryPolicy
from tracker.models.base import Decoded


class AllFrames(MemoryPolicy):
    """Every tracked frame is remembered."""

    name = "all"

    def remembers(self, decoded: Decoded) -> NDArray[np.bool_]:
        """All of them."""
        return np.ones(len(decoded.presence_n1), np.bool_)
