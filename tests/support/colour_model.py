"""A tiny `VideoModel`: a mask is what has about the colour that was prompted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tracker.models import InputSpec, ModelSpec
from tracker.models.base import Capabilities, Clicks, Decoded, Features, Memories, MemorySpec
from tracker.models.optim.plan import Target
from tracker.models.registry import WeightsLicense

SIZE, MASK_STRIDE = 128, 2
TOLERANCE = 0.15  # of a colour 0..1
STEEPNESS, PRESENT = 20.0, 4.0

#: The row of the registry that makes it a family.
ROW = ModelSpec(
    name="colour",
    family="colour",
    config="",
    filename="pico.json",  # it has no weights
    license=WeightsLicense("Apache-2.0", "it has none"),
    url=None,
    loader="tests.support.colour_model:FAMILY",
)


class ColourModel:
    """Compares colours; a memory and an object pointer are a mean colour, c = m = 3."""

    def __init__(self, size: int) -> None:
        self.mask_side = size // MASK_STRIDE
        self.memory = MemorySpec(recent=2, pointers=1, tokens=1, map_channels=3, pointer_channels=3)
        self.capabilities = Capabilities(resizable=True, look_distance=0.01)

    def encode_image(self, picture_hwc: NDArray[np.uint8]) -> Features:
        image_13hw = torch.from_numpy(picture_hwc).permute(2, 0, 1)[None] / 255
        top_13ss = F.avg_pool2d(image_13hw, MASK_STRIDE)
        return Features(top_13ss, torch.zeros_like(top_13ss), ())

    def condition(self, features: Features, memories: Sequence[Memories]) -> Tensor:
        """How far the picture is from the colours remembered; the picture without memories."""
        if not memories:
            return features.top_1chw
        colours = [group.maps_nkqm.float().mean(dim=(1, 2)) for group in memories]
        return features.top_1chw - torch.cat(colours)[..., None, None]

    def decode(
        self,
        features: Features,
        conditioned_nchw: Tensor,
        *,
        first: bool = False,
        clicks: Clicks | None = None,
        previous_n1ss: Tensor | None = None,
        shows_masks: bool = False,
        want_distractors: bool = False,
        is_there: bool = False,
    ) -> Decoded:
        away_nchw = conditioned_nchw
        if clicks is not None:
            boxed = int(clicks.labels_nk[0, 0]) == 2
            xy_nk2 = clicks.coords_nk2[:, : 2 if boxed else 1]
            x_n, y_n = (xy_nk2.mean(dim=1) / MASK_STRIDE).long().unbind(dim=1)
            colours_nc = features.top_1chw[0, :, y_n, x_n].t()
            away_nchw = features.top_1chw - colours_nc[..., None, None]
        away_n1ss = away_nchw.abs().amax(dim=1, keepdim=True)
        return self._decoded(features, STEEPNESS * (TOLERANCE - away_n1ss))

    def adopt_mask(self, features: Features, mask_11ss: Tensor) -> Decoded:
        return self._decoded(features, F.avg_pool2d(mask_11ss, MASK_STRIDE) - 0.5)

    def encode_memory(self, features: Features, decoded: Decoded, *, from_prompt: bool) -> Tensor:
        return decoded.pointers_nc[:, None]

    def resized(self, size: int) -> "ColourModel":
        return ColourModel(size)

    def with_whole_memories(self) -> "ColourModel":
        return self

    def _decoded(self, features: Features, logits_n1ss: Tensor) -> Decoded:
        inside_n1ss = (logits_n1ss > 0).float()
        area_n1 = inside_n1ss.sum(dim=(2, 3))
        colours_nc = (features.top_1chw * inside_n1ss).sum(dim=(2, 3)) / area_n1.clamp(min=1)
        presence_n1 = torch.where(area_n1 > 0, PRESENT, -PRESENT)
        return Decoded(logits_n1ss, presence_n1, torch.ones(len(area_n1)), colours_nc)


class ColourFamily:
    """The family that `ROW` names; its network has no layers to optimize."""

    def target(
        self,
        spec: ModelSpec,
        weights: Path,
        device: torch.device,
        dtype: str,
        off: frozenset[str],
    ) -> Target:
        pictures = InputSpec(SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "linear")
        return Target(device.type, "fp32", pictures, modules="other", trunk="other")

    def build(self, spec: ModelSpec, weights: Path) -> torch.nn.Module:
        return torch.nn.Identity()

    def adapt(self, network: torch.nn.Module, spec: ModelSpec, target: Target) -> ColourModel:
        return ColourModel(SIZE)


FAMILY = ColourFamily()
