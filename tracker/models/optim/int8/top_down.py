"""Static quantization of `tracker.models.pico.top_down` to 8-bit integers.

Activations between 0 and 6 need no calibration; the ranges of the others do, see `Steps`.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from tracker.models.optim.int8.conv import RELU6, Int8Conv, QuantParams
from tracker.models.pico.top_down import Level, Mix, Steps, TopDown, doubled


class _Level(nn.Module):
    """`tracker.models.pico.top_down.Level`."""

    def __init__(
        self,
        level: Level,
        input_params: QuantParams,
        above_params: QuantParams,
        output_params: QuantParams,
    ) -> None:
        super().__init__()
        self.lateral = Int8Conv(level.lateral, input_params, RELU6)
        self.mixes = nn.Sequential()
        for mix in level.mixes:
            assert isinstance(mix, Mix)
            self.mixes.extend(Int8Conv(conv, RELU6, RELU6) for conv in (mix.spread, mix.blend))
        self.out = Int8Conv(level.out, RELU6, output_params)
        self._input_params, self._above_params = input_params, above_params

    def forward(self, x_nchw: Tensor, above_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """The map, in place of the input, and the features that go to the next level."""
        sum_nchw = self.lateral.add_to(doubled(above_nchw), self._above_params, x_nchw)
        mixed_nchw = self.mixes(sum_nchw)
        return self.out.add_to(x_nchw, self._input_params, mixed_nchw), mixed_nchw


class Int8TopDown(nn.Module):
    """`tracker.models.pico.top_down.TopDown`.

    Attributes:
        output_params: Of each of the maps, finest first.
    """

    def __init__(
        self,
        top_down: TopDown,
        input_params: Sequence[QuantParams],
        ranges: Sequence[tuple[float, float]],
    ) -> None:
        super().__init__()
        params = Steps[QuantParams]._make(QuantParams.of_range(*ends) for ends in ranges)
        fine, middle, top, coarse = input_params
        self.coarse = Int8Conv(top_down.coarse, coarse, params.coarse)
        self.top = Int8Conv(top_down.top, top, params.above)
        self.middle = _Level(top_down.middle, middle, params.above, params.middle)
        self.narrow = Int8Conv(top_down.narrow, RELU6, params.narrow)
        self.fine = _Level(top_down.fine, fine, params.narrow, params.fine)
        self.output_params = [params.fine, params.middle, top, coarse]
        self._coarse_params = params.coarse

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The maps, finest first; the first two in place of the inputs."""
        fine, middle, top, coarse = maps
        above = self.top.add_to(doubled(self.coarse(coarse)), self._coarse_params, top)
        middle, mixed = self.middle(middle, above)
        fine, _ = self.fine(fine, self.narrow(mixed))
        return [fine, middle, top, coarse]
