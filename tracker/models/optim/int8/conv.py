"""A convolution of 8-bit integers, by oneDNN.

Static quantization as in Jacob et al. 2018: weights int8 with a scale for each channel, activations
uint8 with one scale. Sums of integers do not round, so that the result does not depend on the
number of threads, except with Intel AMX: there oneDNN chooses its kernel by that number, and about
one value in a million differs by one level.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.models.optim.fused_conv import can_fuse

_NAME, _PACK_NAME = "qconv2d_pointwise", "qconv_prepack"
STEPS = 255  # of uint8
_WEIGHT_STEPS = 127


@dataclass(frozen=True, slots=True)
class QuantParams:
    """What the values of a uint8 tensor mean: (value - zero) * step."""

    step: float
    zero: int

    @classmethod
    def between(cls, low: float, high: float) -> "QuantParams":
        """The levels that cover a range, and 0 exactly."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = (high - low) / STEPS or 1.0
        return cls(step, round(-low / step))


RELU6 = QuantParams.between(0, 6)


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

    def __init__(self, conv: nn.Conv2d, given: QuantParams, gives: QuantParams | None) -> None:
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

    def add_to(self, sum_nchw: Tensor, levels: QuantParams, x_nchw: Tensor) -> Tensor:
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


def can_quantize() -> bool:
    """Whether this torch has the operators, not of its stable interface, and the CPU is good at it.

    Without the dot products of VNNI, sums of two products saturate.
    """
    has_dot_products = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    operators = all(hasattr(torch.ops.onednn, name) for name in (_NAME, _PACK_NAME))
    return can_fuse() and operators and bool(has_dot_products())


def _pads(conv: nn.Conv2d) -> tuple[int, int, int, int] | None:
    """What a convolution that pads like TensorFlow adds to an input of even sides."""
    if type(conv) is nn.Conv2d:
        return None
    both = conv.kernel_size[0] - conv.stride[0]
    return (both // 2, both - both // 2) * 2
