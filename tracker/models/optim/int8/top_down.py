"""`tracker.models.pico.top_down` in 8-bit integers.

What is cut off at 0 and 6 needs no range; those of the rest are measured, see `Steps`.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from tracker.models.optim.int8.conv import RELU6, Int8Conv, QuantParams
from tracker.models.pico.top_down import Level, Mix, Steps, TopDown, doubled


class _Level(nn.Module):
    """`tracker.models.pico.top_down.Level`."""

    def __init__(
        self, level: Level, given: QuantParams, told: QuantParams, gives: QuantParams
    ) -> None:
        super().__init__()
        self.lateral = Int8Conv(level.lateral, given, RELU6)
        self.mixes = nn.Sequential()
        for mix in level.mixes:
            assert isinstance(mix, Mix)
            self.mixes.extend(Int8Conv(conv, RELU6, RELU6) for conv in (mix.spread, mix.blend))
        self.out = Int8Conv(level.out, RELU6, gives)
        self._given, self._told = given, told

    def forward(self, x_nchw: Tensor, told_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """The map, in place of the one that is given, and what the next level is told."""
        seen_nchw = self.mixes(self.lateral.add_to(doubled(told_nchw), self._told, x_nchw))
        return self.out.add_to(x_nchw, self._given, seen_nchw), seen_nchw


class Int8TopDown(nn.Module):
    """`tracker.models.pico.top_down.TopDown`.

    Attributes:
        levels: What each of the maps means, finest first.
    """

    def __init__(
        self, top_down: TopDown, given: Sequence[QuantParams], ranges: Sequence[tuple[float, float]]
    ) -> None:
        super().__init__()
        gives = Steps[QuantParams]._make(QuantParams.between(*ends) for ends in ranges)
        fine, middle, top, coarse = given
        self.coarse = Int8Conv(top_down.coarse, coarse, gives.coarse)
        self.top = Int8Conv(top_down.top, top, gives.above)
        self.middle = _Level(top_down.middle, middle, gives.above, gives.middle)
        self.narrow = Int8Conv(top_down.narrow, RELU6, gives.narrow)
        self.fine = _Level(top_down.fine, fine, gives.narrow, gives.fine)
        self.levels = [gives.fine, gives.middle, top, coarse]
        self._coarse = gives.coarse

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The maps, finest first; the first two in place of those that are given."""
        fine, middle, top, coarse = maps
        above = self.top.add_to(doubled(self.coarse(coarse)), self._coarse, top)
        middle, seen = self.middle(middle, above)
        fine, _ = self.fine(fine, self.narrow(seen))
        return [fine, middle, top, coarse]
