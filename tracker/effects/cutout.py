"""Cut-outs: the objects alone, on transparent ground."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tracker.effects.base import Shot, Target
from tracker.effects.edges import feather_px, matte


class CutoutStage:
    """Stage that gives pictures an alpha channel: opaque objects, or opaque rest."""

    def __init__(self, target: Target) -> None:
        """Keep what the target is."""
        self._target = target

    def push(self, shot: Shot) -> Iterator[Shot]:
        """The shot in RGBA, straight alpha."""
        height, width = shot.image_hwc.shape[:2]
        alpha_hw = matte(shot, self._target, feather_px(height, width))
        if self._target.is_rest:
            alpha_hw = 1 - alpha_hw
        channel = np.rint(alpha_hw * 255).astype(np.uint8)
        yield replace(shot, image_hwc=np.dstack([shot.image_hwc[..., :3], channel]))

    def flush(self) -> Iterator[Shot]:
        """Nothing is held back."""
        return iter(())
