"""Cutie-base, from the wheel `rf-cutie`, at its own size: 480 pixels along the shorter side.

It is no SAM 2: another network, other memories, one pass for all objects. It is driven as its
`process_video` does, with that configuration; its weights are random, on which its speed does not
depend.
"""

from importlib.metadata import version
from pathlib import Path

import cutie
import numpy as np
import torch
from cutie.inference.inference_core import InferenceCore
from cutie.model.cutie import CUTIE
from cutie.model.utils import resnet
from hydra import compose, initialize_config_dir

from tools.bench.peers.worker import (
    About,
    Image,
    Mask,
    Masks,
    Wish,
    inference,
    random_weights,
    serve,
)


class Cutie:
    """An inference core that is given the frames."""

    def __init__(self, wish: Wish) -> None:
        resnet.load_weights_add_extra_dim = lambda *_: None  # weights that are not fetched
        resnet.model_zoo.load_url = lambda *_, **__: None
        folder = Path(cutie.__path__[0], "config")
        with initialize_config_dir(config_dir=str(folder), version_base="1.3.2"):
            self._config = compose(config_name="video_config")
        self._wish = wish
        self._network = random_weights(CUTIE(self._config)).to(wish.device)
        self._core = InferenceCore(self._network, cfg=self._config)
        versions = {"rf-cutie": version("rf-cutie")}
        size = f"{self._config.max_internal_size} px along the shorter side"
        self.about = About("Cutie-base", "random (seed 0)", size, versions)

    def start(self, frames_nhwc: Image, masks_khw: Masks) -> None:
        """Show all objects in one picture of their numbers."""
        numbers = np.arange(1, len(masks_khw) + 1)
        index_hw = (masks_khw * numbers[:, None, None]).max(axis=0)
        self._objects = len(masks_khw)
        self._core = InferenceCore(self._network, cfg=self._config)
        with inference(self._wish):
            self._core.step(
                self._pixels(frames_nhwc[0]),
                torch.from_numpy(index_hw).to(self._wish.device),
                objects=numbers.tolist(),
            )

    def step(self, image_hwc: Image) -> list[Mask]:
        """Segment one frame; each pixel belongs to one object or to none."""
        with inference(self._wish):
            probability_khw = self._core.step(self._pixels(image_hwc))
            index_hw = self._core.output_prob_to_mask(probability_khw).cpu().numpy()
        return [np.asarray(index_hw == number) for number in range(1, self._objects + 1)]

    def _pixels(self, image_hwc: Image) -> torch.Tensor:
        pixels_3hw = torch.from_numpy(image_hwc).to(self._wish.device).permute(2, 0, 1)
        return pixels_3hw.float().div_(255)


if __name__ == "__main__":
    raise SystemExit(serve(Cutie))
