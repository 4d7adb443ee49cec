"""Static quantization of an EfficientNet-Lite trunk and the neck over it, to 8-bit integers.

Between convolutions with a ReLU6 the range is 0 to 6, and saturation to uint8 is that ReLU6. The
outputs of blocks have no such bounds: their ranges are calibrated on pictures
(`tools.train.calibrate`) and lie in the model's configuration.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from sam2.modeling.backbones.image_encoder import ImageEncoder
from torch import Tensor, nn

from tracker.errors import ModelError
from tracker.models.model import InputSpec
from tracker.models.optim.fusion import NarrowNeck
from tracker.models.optim.int8.conv import RELU6, UINT8_MAX, Int8Conv, QuantParams
from tracker.models.optim.int8.top_down import Int8TopDown
from tracker.models.pico.build import TimmTrunk
from tracker.models.pico.top_down import Steps
from tracker.models.timm_parts import (
    Conv2dSame,
    DepthwiseSeparableConv,
    EfficientNetFeatures,
    InvertedResidual,
)

_LEAVES = {nn.Conv2d, Conv2dSame, nn.ReLU6, nn.Identity}
PIXELS = QuantParams(scale=1.0, zero_point=116)  # grey


class Block(nn.Module):
    """A residual block: a few convolutions in turn, and the sum with their input."""

    def __init__(
        self,
        convs: Sequence[nn.Conv2d],
        input_params: QuantParams,
        output_params: QuantParams,
        *,
        has_skip: bool,
    ) -> None:
        super().__init__()
        *inner, last = convs
        params = [input_params] + [RELU6] * len(inner)
        self.inner = nn.ModuleList(
            Int8Conv(conv, before, RELU6) for conv, before in zip(inner, params, strict=False)
        )
        self.last = Int8Conv(last, params[-1], output_params)
        self._input_params, self._has_skip = input_params, has_skip

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Run the block; with a skip, its input is overwritten."""
        y_nchw = x_nchw
        for conv in self.inner:
            y_nchw = conv(y_nchw)
        if self._has_skip:
            return self.last.add_to(x_nchw, self._input_params, y_nchw)
        return self.last(y_nchw)  # type: ignore[no-any-return]


class Int8Trunk(nn.Module):
    """A trunk from uint8 pictures, RGB, to uint8 feature maps.

    Attributes:
        output_params: Of each of the maps, finest first.
    """

    def __init__(
        self, trunk: TimmTrunk, spec: InputSpec, ranges: Sequence[tuple[float, float]]
    ) -> None:
        super().__init__()
        body: Any = trunk.body
        self.channel_list = trunk.channel_list
        self.stem = Int8Conv(_of_pixels(body.conv_stem, spec), PIXELS, RELU6)
        self.stages = nn.ModuleList()
        self.output_params: list[QuantParams] = []
        self._output_stages = {info["stage"] for info in body.feature_info.get_dicts()}
        params, outputs = RELU6, iter(ranges)
        for number, stage in enumerate(body.blocks, 1):
            blocks = nn.Sequential()
            for block in stage:
                before, params = params, QuantParams.of_range(*next(outputs))
                blocks.append(
                    Block(block_convs(block), before, params, has_skip=bool(block.has_skip))
                )
            self.stages.append(blocks)
            if number in self._output_stages:
                self.output_params.append(params)
        self.top_down: Int8TopDown | None = None
        if trunk.top_down is not None:
            self.top_down = Int8TopDown(trunk.top_down, self.output_params, list(outputs))
            self.output_params = self.top_down.output_params

    def forward(self, image_nchw: Tensor) -> list[Tensor]:
        """The feature maps, NCHW, finest first."""
        x_nchw = self.stem(image_nchw)
        maps = []
        for number, stage in enumerate(self.stages, 1):
            x_nchw = stage(x_nchw)
            if number in self._output_stages:
                maps.append(x_nchw)
        return maps if self.top_down is None else self.top_down(maps)


def can_be_quantized(trunk: nn.Module) -> bool:
    """True if a trunk is an EfficientNet-Lite: convolutions and ReLU6, nothing else."""
    body: Any = getattr(trunk, "body", None)
    if type(body) is not EfficientNetFeatures:
        return False
    stages: Any = body.blocks
    kinds = DepthwiseSeparableConv | InvertedResidual
    leaves = {type(module) for module in body.modules() if not list(module.children())}
    # A block's skip overwrites its input, which is a feature map where a stage ends.
    return (
        leaves <= _LEAVES
        and all(isinstance(block, kinds) for block in trunk_blocks(trunk))
        and not any(stage[0].has_skip for stage in stages)
    )


def quantize(
    image_encoder: ImageEncoder, spec: InputSpec, ranges: Sequence[tuple[float, float]]
) -> None:
    """Quantize an encoder on the CPU, in place; its norms must be folded, its neck be narrow.

    It then takes pictures as they are, uint8 [1, 3, size, size], channels last in memory.

    Args:
        image_encoder: Over an EfficientNet-Lite of timm.
        spec: The pictures that it expected.
        ranges: Lowest and highest output of each block, see `trunk_blocks`; then, of a trunk with
            a `TopDown`, those of its `Steps`.

    Raises:
        ModelError: The trunk is of another kind, or there are more ranges or fewer.
    """
    if not can_be_quantized(image_encoder.trunk):
        raise ModelError("trunk_ranges are given, but the trunk cannot be quantized", "remove them")
    wanted = len(list(trunk_blocks(image_encoder.trunk)))
    if image_encoder.trunk.top_down is not None:
        wanted += len(Steps._fields)
    if len(ranges) != wanted:
        raise ModelError(
            f"trunk_ranges has {len(ranges)} pairs instead of {wanted}",
            "measure them with python -m tools.train.calibrate",
        )
    trunk, neck = Int8Trunk(image_encoder.trunk, spec, ranges), image_encoder.neck
    assert isinstance(neck, NarrowNeck)
    image_encoder.trunk = trunk
    names = ("fine", "middle", "top", "coarse")
    for name, params in zip(names, trunk.output_params, strict=True):
        setattr(neck, name, Int8Conv(getattr(neck, name), params, None))


def trunk_blocks(trunk: nn.Module) -> Iterator[nn.Module]:
    """The blocks of an EfficientNet trunk in turn, each an entry of the configuration's ranges."""
    body: Any = trunk.body
    for stage in body.blocks:
        yield from stage


def block_convs(block: nn.Module) -> list[nn.Conv2d]:
    """The convolutions of a block in turn."""
    assert isinstance(block, DepthwiseSeparableConv | InvertedResidual)
    return [module for module in block.modules() if isinstance(module, nn.Conv2d)]


def _of_pixels(stem: nn.Conv2d, spec: InputSpec) -> nn.Conv2d:
    """The first convolution, for pixels as they are less `PIXELS.zero_point`.

    Beyond the picture there is grey, where the original has the mean colour.
    """
    stem = copy.deepcopy(stem)
    assert stem.bias is not None
    scale_3 = 1 / (UINT8_MAX * torch.tensor(spec.std))
    shift_3 = PIXELS.zero_point * scale_3 - torch.tensor(spec.mean) / torch.tensor(spec.std)
    with torch.no_grad():
        stem.bias += (stem.weight.sum(dim=(2, 3)) * shift_3).sum(dim=1)
        stem.weight *= scale_3[:, None, None]
    return stem
