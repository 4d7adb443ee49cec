"""SAM 3's click tracker as a `VideoModel`."""

import torch.nn.functional as F
from torch import Tensor

from tracker.models.hugging_face.network import HuggingFaceModel

MASK_CELL = 4  # pixels that the memory encoder takes for each of a low-resolution mask


class Sam3TrackerModel(HuggingFaceModel):
    """A `Sam3TrackerVideoModel` that tracks."""

    def memory_logits(self, logits_n1ss: Tensor) -> Tensor:
        """Logits at the resolution that the memory encoder takes, by way of the input's.

        Features have stride 14, and the memory encoder halves a mask four times.
        """
        side = MASK_CELL * self.mask_side
        logits_n1ss = super().memory_logits(logits_n1ss)
        return F.interpolate(
            logits_n1ss, (side, side), mode="bilinear", align_corners=False, antialias=True
        )
