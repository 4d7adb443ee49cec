"""An EfficientNet-Lite trunk and the neck over it in 8-bit integers, for CPUs that multiply them.

Static quantization as in Jacob et al. 2018: weights int8 with a scale for each channel, activations
uint8 with one scale. Between convolutions with a ReLU6 the range is 0 to 6, which saturation to
uint8 cuts off for nothing. The outputs of blocks have no such bounds: their ranges were measured on
pictures (`tools.train.calibrate`) and lie in the model's configuration. Sums of integers do not
round, so that the result depends on no number of threads.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.backbones.image_encoder import ImageEncoder
from timm.layers.conv2d_same import Conv2dSame
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn

from tracker.errors import ModelError
from tracker.models.faster import NarrowNeck
from tracker.models.fused_conv import can_fuse
from tracker.models.model import InputSpec

_NAME, _PACK_NAME = "qconv2d_pointwise", "qconv_prepack"
_STEPS = 255  # of uint8
_WEIGHT_STEPS = 127


@dataclass(frozen=True, slots=True)
class Levels:
    """What the values of a uint8 tensor mean: (value - zero) * step."""

    step: float
    zero: int

    @classmethod
    def between(cls, low: float, high: float) -> "Levels":
        """The levels that cover a range, and 0 exactly."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = (high - low) / _STEPS or 1.0
        return cls(step, round(-low / step))


_LEAVES = {nn.Conv2d, Conv2dSame, nn.ReLU6, nn.Identity}
RELU6 = Levels.between(0, 6)
PIXELS = Levels(step=1.0, zero=116)  # grey


class _Packed(dict[tuple[int, ...], Tensor]):
    """Weights as oneDNN wants them, which copies of a module share.

    In another layout than that for the shape of the input and the number of threads, they would
    be laid out anew for each picture, which takes several times as long as the convolution. There
    are as many as sizes of the input and numbers of threads are used, at most some dozens.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Packed":
        return self


class Int8Conv(nn.Module):
    """A convolution of uint8, and what follows it, in one pass of oneDNN.

    Torch's compiler emits the same operator.
    """

    def __init__(self, conv: nn.Conv2d, given: Levels, gives: Levels | None) -> None:
        """Quantize the weights.

        Args:
            conv: With a bias; a norm that followed is folded.
            given: Levels of the input.
            gives: Those of the output; beyond them it is cut off. None gives bfloat16.
        """
        super().__init__()
        weight, bias = conv.weight.detach().float(), conv.bias
        assert bias is not None and isinstance(conv.padding, tuple)
        steps_o = weight.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12) / _WEIGHT_STEPS
        rounded = (weight / steps_o[:, None, None, None]).round().to(torch.int8)
        self._pads = _pads(conv)
        # timm's convolutions that pad like TensorFlow do so themselves.
        padding = [0, 0] if self._pads else list(conv.padding)
        self._how = [list(conv.stride), padding, list(conv.dilation), conv.groups]
        self.register_buffer("weight", rounded, persistent=False)
        self.register_buffer("steps", steps_o, persistent=False)
        self.register_buffer("zeros", torch.zeros_like(steps_o, dtype=torch.int32), False)
        self.register_buffer("bias", bias.detach().float(), persistent=False)
        self._given, self._packed = given, _Packed()
        self._out = [1.0, 0, torch.bfloat16]
        if gives is not None:
            self._out = [gives.step, gives.zero, torch.uint8]

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Convolve."""
        convolve = getattr(torch.ops.onednn, _NAME)
        out: Tensor = convolve(
            *self._product(x_nchw), self.bias, *self._how, *self._out, "none", [], ""
        )
        return out

    def add_to(self, sum_nchw: Tensor, levels: Levels, x_nchw: Tensor) -> Tensor:
        """Add the convolution of x to a tensor of these levels, in place."""
        convolve = getattr(torch.ops.onednn, _NAME).binary
        what = [levels.step, levels.zero, "sum", 1.0, "none", [], ""]
        product = self._product(x_nchw)
        out: Tensor = convolve(*product, sum_nchw, self.bias, *self._how, *self._out, *what)
        return out

    def _product(self, x_nchw: Tensor) -> list[Any]:
        """The two factors and their levels."""
        if self._pads:
            x_nchw = F.pad(x_nchw, self._pads, value=self._given.zero)
        given = [self._given.step, self._given.zero]
        shape = tuple(x_nchw.shape)
        key = (*shape, torch.get_num_threads())
        if key not in self._packed:
            pack = getattr(torch.ops.onednn, _PACK_NAME)
            self._packed[key] = pack(self.weight, self.steps, *given, *self._how, shape)
        return [x_nchw, *given, self._packed[key], self.steps, self.zeros]


class Block(nn.Module):
    """A few convolutions in turn, and the sum with what they began with."""

    def __init__(
        self, convs: Sequence[nn.Conv2d], given: Levels, gives: Levels, *, has_skip: bool
    ) -> None:
        super().__init__()
        *inner, last = convs
        levels = [given] + [RELU6] * len(inner)
        self.inner = nn.ModuleList(
            Int8Conv(conv, before, RELU6) for conv, before in zip(inner, levels, strict=False)
        )
        self.last = Int8Conv(last, levels[-1], gives)
        self._given, self._has_skip = given, has_skip

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Run the block; with a skip, its input is overwritten."""
        y_nchw = x_nchw
        for conv in self.inner:
            y_nchw = conv(y_nchw)
        if self._has_skip:
            return self.last.add_to(x_nchw, self._given, y_nchw)
        return self.last(y_nchw)  # type: ignore[no-any-return]


class Int8Trunk(nn.Module):
    """A trunk from uint8 pictures, RGB, to uint8 feature maps.

    Attributes:
        levels: What each of the maps means, finest first.
    """

    def __init__(
        self, trunk: nn.Module, spec: InputSpec, ranges: Sequence[tuple[float, float]]
    ) -> None:
        super().__init__()
        body: Any = trunk.body
        self.channel_list = trunk.channel_list
        self.stem = Int8Conv(_of_pixels(body.conv_stem, spec), PIXELS, RELU6)
        self.stages = nn.ModuleList()
        self.levels: list[Levels] = []
        self._taken = {info["stage"] for info in body.feature_info.get_dicts()}
        given, outputs = RELU6, iter(ranges)
        for number, stage in enumerate(body.blocks, 1):
            blocks = nn.Sequential()
            for block in stage:
                gives = Levels.between(*next(outputs))
                blocks.append(
                    Block(block_convs(block), given, gives, has_skip=bool(block.has_skip))
                )
                given = gives
            self.stages.append(blocks)
            if number in self._taken:
                self.levels.append(given)

    def forward(self, image_nchw: Tensor) -> list[Tensor]:
        """The feature maps, NCHW, finest first."""
        x_nchw = self.stem(image_nchw)
        maps = []
        for number, stage in enumerate(self.stages, 1):
            x_nchw = stage(x_nchw)
            if number in self._taken:
                maps.append(x_nchw)
        return maps


def can_quantize() -> bool:
    """Whether this torch has the operators, not of its stable interface, and the CPU is good at it.

    Without the dot products of VNNI, sums of two products saturate.
    """
    has_dot_products = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    operators = all(hasattr(torch.ops.onednn, name) for name in (_NAME, _PACK_NAME))
    return can_fuse() and operators and bool(has_dot_products())


def can_be_quantized(trunk: nn.Module) -> bool:
    """Whether a trunk is an EfficientNet-Lite: convolutions and ReLU6, nothing else."""
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
    """Rewrite an encoder on the CPU, in place; its norms must be folded, its neck be narrow.

    It then takes pictures as they are, uint8 [1, 3, size, size], channels last in memory.

    Args:
        image_encoder: Over an EfficientNet-Lite of timm.
        spec: The pictures that it expected.
        ranges: Smallest and largest output of each block, see `trunk_blocks`.

    Raises:
        ModelError: The trunk is of another kind, or has more blocks or fewer.
    """
    if not can_be_quantized(image_encoder.trunk):
        raise ModelError("trunk_ranges are given, but the trunk cannot be quantized", "remove them")
    blocks = len(list(trunk_blocks(image_encoder.trunk)))
    if len(ranges) != blocks:
        raise ModelError(
            f"trunk_ranges has {len(ranges)} pairs for {blocks} blocks",
            "measure them with python -m tools.train.calibrate",
        )
    trunk, neck = Int8Trunk(image_encoder.trunk, spec, ranges), image_encoder.neck
    assert isinstance(neck, NarrowNeck)
    image_encoder.trunk = trunk
    names = ("fine", "middle", "top", "coarse")
    for name, levels in zip(names, trunk.levels, strict=True):
        setattr(neck, name, Int8Conv(getattr(neck, name), levels, None))


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
    """The first convolution, for pixels as they are less `PIXELS.zero`.

    Beyond the picture there is grey, where the original has the mean colour.
    """
    stem = copy.deepcopy(stem)
    assert stem.bias is not None
    scale_3 = 1 / (_STEPS * torch.tensor(spec.std))
    shift_3 = PIXELS.zero * scale_3 - torch.tensor(spec.mean) / torch.tensor(spec.std)
    with torch.no_grad():
        stem.bias += (stem.weight.sum(dim=(2, 3)) * shift_3).sum(dim=1)
        stem.weight *= scale_3[:, None, None]
    return stem


def _pads(conv: nn.Conv2d) -> tuple[int, int, int, int] | None:
    """What a convolution that pads like TensorFlow adds to an input of even sides."""
    if type(conv) is nn.Conv2d:
        return None
    both = conv.kernel_size[0] - conv.stride[0]
    return (both // 2, both - both // 2) * 2
