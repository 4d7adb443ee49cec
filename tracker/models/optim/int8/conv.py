"""Quantized convolution in 8-bit integers, by oneDNN.

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
UINT8_MAX = 255
_INT8_MAX = 127


@dataclass(frozen=True, slots=True)
class QuantParams:
    """Affine quantization of a uint8 tensor: a value means (value - zero_point) * scale."""

    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float) -> "QuantParams":
        """The parameters that cover a range, and 0 exactly."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / UINT8_MAX or 1.0
        return cls(scale, round(-low / scale))


RELU6 = QuantParams.of_range(0, 6)


class _PackedWeights(dict[tuple[int, ...], Tensor]):
    """A cache of weights in oneDNN's layout (prepacked), which copies of a module share.

    In another layout than that for the shape of the input and the number of threads, they would
    be reordered for each picture, which takes several times as long as the convolution. There are
    as many entries as sizes of the input and numbers of threads are used, at most some dozens.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "_PackedWeights":
        return self


class Int8Conv(nn.Module):
    """A quantized convolution and its requantization, in one pass of oneDNN.

    Torch's compiler emits the same operator.
    """

    def __init__(
        self, conv: nn.Conv2d, input_params: QuantParams, output_params: QuantParams | None
    ) -> None:
        """Quantize the weights.

        Args:
            conv: With a bias; a norm that followed is folded.
            input_params: Of the input.
            output_params: Of the output, which saturates; None for an output in bfloat16.
        """
        super().__init__()
        weight, bias = conv.weight.detach().float(), conv.bias
        assert bias is not None and isinstance(conv.padding, tuple)
        scales_o = weight.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12) / _INT8_MAX
        rounded = (weight / scales_o[:, None, None, None]).round().to(torch.int8)
        self._pads = _pads(conv)
        # timm's convolutions that pad like TensorFlow do so themselves.
        padding = [0, 0] if self._pads else list(conv.padding)
        self._geometry = [list(conv.stride), padding, list(conv.dilation), conv.groups]
        self.register_buffer("weight", rounded, persistent=False)
        self.register_buffer("scales", scales_o, persistent=False)
        zero_points_o = torch.zeros_like(scales_o, dtype=torch.int32)
        self.register_buffer("zero_points", zero_points_o, persistent=False)
        self.register_buffer("bias", bias.detach().float(), persistent=False)
        self._input_params, self._packed = input_params, _PackedWeights()
        self._output = [1.0, 0, torch.bfloat16]
        if output_params is not None:
            self._output = [output_params.scale, output_params.zero_point, torch.uint8]

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Convolve."""
        convolve = getattr(torch.ops.onednn, _NAME)
        out: Tensor = convolve(
            *self._product(x_nchw), self.bias, *self._geometry, *self._output, "none", [], ""
        )
        return out

    def add_to(self, sum_nchw: Tensor, sum_params: QuantParams, x_nchw: Tensor) -> Tensor:
        """Add the convolution of x to a quantized tensor, in place."""
        convolve = getattr(torch.ops.onednn, _NAME).binary
        product = [*self._product(x_nchw), sum_nchw, self.bias]
        addend = [sum_params.scale, sum_params.zero_point, "sum", 1.0, "none", [], ""]
        out: Tensor = convolve(*product, *self._geometry, *self._output, *addend)
        return out

    def _product(self, x_nchw: Tensor) -> list[Any]:
        """The two factors and their quantization."""
        if self._pads:
            x_nchw = F.pad(x_nchw, self._pads, value=self._input_params.zero_point)
        input_params = [self._input_params.scale, self._input_params.zero_point]
        shape = tuple(x_nchw.shape)
        key = (*shape, torch.get_num_threads())
        if key not in self._packed:
            pack = getattr(torch.ops.onednn, _PACK_NAME)
            weight = [self.weight, self.scales]
            self._packed[key] = pack(*weight, *input_params, *self._geometry, shape)
        return [x_nchw, *input_params, self._packed[key], self.scales, self.zero_points]


def can_quantize() -> bool:
    """True if this torch has the operators, not of its stable interface, and the CPU is good at it.

    Without the dot products of VNNI, sums of two products saturate.
    """
    has_dot_products = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    operators = all(hasattr(torch.ops.onednn, name) for name in (_NAME, _PACK_NAME))
    return can_fuse() and operators and bool(has_dot_products())


def _pads(conv: nn.Conv2d) -> tuple[int, int, int, int] | None:
    """Padding of a convolution that pads like TensorFlow, for an input of even sides."""
    if type(conv) is nn.Conv2d:
        return None
    both = conv.kernel_size[0] - conv.stride[0]
    return (both // 2, both - both // 2) * 2
