"""Memory of frames on which the model is confident, an idea of SAMURAI (Yang et al., 2024)."""

import numpy as np
from numpy.typing import NDArray

from tracker.engine.memory_policy.base import MemoryPolicy
from tracker.models.base import Decoded

MIN_IOU = 0.5  # predicted quality of a confident mask, at least


class PresentFrames(MemoryPolicy):
    """Frames on which the object is there are remembered."""

    name = "present"

    def remembers(self, decoded: Decoded) -> NDArray[np.bool_]:
        """Those whose object score says that they are there."""
        return np.asarray((decoded.presence_n1[:, 0] > 0).cpu().numpy(), np.bool_)


class ConfidentFrames(MemoryPolicy):
    """Frames with a confident mask of the object are remembered, further back if need be."""

    name = "confident"
    reach = 16

    def remembers(self, decoded: Decoded) -> NDArray[np.bool_]:
        """Those that are there, with a mask of good predicted quality."""
        confident_n = (decoded.presence_n1[:, 0] > 0) & (decoded.iou_n >= MIN_IOU)
        return np.asarray(confident_n.cpu().numpy(), np.bool_)
