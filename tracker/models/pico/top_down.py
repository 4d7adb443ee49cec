"""Top-down (FPN-style) fusion of coarse features into the stride-4 and stride-8 maps.

SAM 2's neck takes the maps at strides 4 and 8 as they are: Hiera's know their surroundings there. A
trunk of plain convolutions knows little more than edges so early. Here each of the two maps is
mixed, level by level, with the one below it, as in U-Net (Ronneberger et al., 2015) and the pixel
decoders of Mask2Former, and what comes out is added to it.
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

Value = TypeVar("Value")
_MIXES = 2  # at each level


class Mix(nn.Module):
    """A depthwise separable convolution: 5x5 depthwise, then 1x1, each with a ReLU6."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.act1 = nn.ReLU6()
        self.blend = nn.Conv2d(width, width, 1)
        self.act2 = nn.ReLU6()

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Mix."""
        x_nchw = self.act1(self.spread(x_nchw))
        return self.act2(self.blend(x_nchw))  # type: ignore[no-any-return]


class Level(nn.Module):
    """Fusion of one of the finer maps with the features from the level above."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(channels, width, 1)
        self.act = nn.ReLU6()
        self.mixes = nn.Sequential(*(Mix(width) for _ in range(_MIXES)))
        self.out = nn.Conv2d(width, channels, 1)

    def forward(self, x_nchw: Tensor, above_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """The map, and the features for the next level; `above_nchw` has half the size."""
        mixed_nchw = self.mixes(self.act(self.lateral(x_nchw) + doubled(above_nchw)))
        return x_nchw + self.out(mixed_nchw), mixed_nchw


class Steps(NamedTuple, Generic[Value]):
    """Activations of a `TopDown` whose ranges are to be calibrated, or a value for each.

    Attributes:
        coarse: The coarsest map, narrowed.
        above: Features for the level of stride 8.
        narrow: Features for that of stride 4.
        middle: The map of stride 8.
        fine: That of stride 4.
    """

    coarse: Value
    above: Value
    narrow: Value
    middle: Value
    fine: Value


class TopDown(nn.Module):
    """Top-down fusion of maps at strides 4, 8, 16 and 32; shapes and the last two maps stay."""

    def __init__(self, channels: Sequence[int], widths: tuple[int, int]) -> None:
        """Prepare random weights.

        Args:
            channels: Of the maps, finest first.
            widths: Channels of the work at strides 8 and 4.
        """
        super().__init__()
        fine, middle, top, coarse = channels
        self.coarse = nn.Conv2d(coarse, widths[0], 1)
        self.top = nn.Conv2d(top, widths[0], 1)
        self.middle = Level(middle, widths[0])
        self.narrow = nn.Conv2d(widths[0], widths[1], 1)
        self.fine = Level(fine, widths[1])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The maps, finest first."""
        steps = self.steps(maps)
        return [steps.fine, steps.middle, *maps[2:]]

    def steps(self, maps: list[Tensor]) -> Steps[Tensor]:
        """All activations on the way."""
        fine, middle, top, coarse = maps
        narrowed = self.coarse(coarse)
        above = self.top(top) + doubled(narrowed)
        middle, mixed = self.middle(middle, above)
        narrow = self.narrow(mixed)
        fine, _ = self.fine(fine, narrow)
        return Steps(narrowed, above, narrow, middle, fine)


def doubled(map_nchw: Tensor) -> Tensor:
    """A map at twice its height and width, each number four times."""
    return F.interpolate(map_nchw, scale_factor=2.0, mode="nearest")
