"""Memory encoder for a CPU: adjacent linear layers composed, convolutions fused, in one dtype."""

from collections.abc import Iterable

import cv2
import torch
import torch.nn.functional as F
from sam2.modeling.memory_encoder import MemoryEncoder
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn

CELL = 4  # input pixels along a side of a logit, and of what the first convolution gives at once
FEW_COLUMNS = 4  # of a matrix; kernels are slow with fewer


class FastMemoryEncoder(MemoryEncoder):  # type: ignore[misc]
    """`MemoryEncoder` of sam2, from logits at low resolution to tokens.

    All is in one data type but the first level until it is normed; in half precision that alone
    lost twice what autocast loses, and it is a small part of the work.
    The original's modules stay, for who calls them.
    """

    def __init__(
        self, encoder: MemoryEncoder, *, scale: float, bias: float, dtype: torch.dtype
    ) -> None:
        """Take over an encoder in eval mode.

        Args:
            encoder: The original, its weights float32.
            scale: Masks of 0..1 are multiplied by this,
            bias: and this is added to them.
            dtype: float32 or bfloat16, to compute in after the first norm.
        """
        nn.Module.__init__(self)
        self.mask_downsampler, self.pix_feat_proj = encoder.mask_downsampler, encoder.pix_feat_proj
        self.fuser, self.out_proj = encoder.fuser, encoder.out_proj
        self.position_encoding = encoder.position_encoding
        modules = encoder.mask_downsampler.encoder
        self.levels = _levels(modules, scale=scale, bias=bias, dtype=dtype)
        self._outside, self._dtype = -bias / scale, dtype
        self._fuses = len(encoder.fuser.layers) > 0
        mask, image = _pointwise(modules[-1]), _pointwise(encoder.pix_feat_proj)
        if not self._fuses:  # all is linear from here
            mask, image = (_then(one, encoder.out_proj) for one in (mask, image))
        self.from_mask, self.from_image = Linear(*mask, dtype), Linear(*image, dtype)

    def forward(self, top_1chw: Tensor, logits_n1ss: Tensor, *, binary: bool, pool: int) -> Tensor:
        """Memories of n objects, [n, q, m].

        Args:
            top_1chw: Features of the image.
            logits_n1ss: float32 mask logits at a quarter of the input's size.
            binary: Take masks of 0 and 1 in place of probabilities.
            pool: Side of the squares of tokens of which means are kept. A mean commutes with all
                that is linear, so it is taken as early as can be.
        """
        masks_nchw = self.levels(self._unscaled_masks(logits_n1ss, binary=binary))
        image_1chw = top_1chw.to(self._dtype, memory_format=torch.channels_last)
        if not self._fuses:
            masks_nchw, image_1chw = _pooled(masks_nchw, pool), _pooled(image_1chw, pool)
        sum_nhwc: Tensor = self.from_mask(masks_nchw.permute(0, 2, 3, 1))
        sum_nhwc += self.from_image(image_1chw.permute(0, 2, 3, 1))
        if not self._fuses:
            return sum_nhwc.flatten(1, 2)
        fused_nchw = _pooled(self.fuser(sum_nhwc.permute(0, 3, 1, 2)), pool)
        memory_nmhw: Tensor = self.out_proj(fused_nchw)
        return memory_nmhw.flatten(2).transpose(1, 2)

    def _unscaled_masks(self, logits_n1ss: Tensor, *, binary: bool) -> Tensor:
        """Masks 0..1 of the input's size, [n, 4, 5 + height, 2 + width / 4], channels last.

        The channels are four pixels side by side. Above and to the left there is what the scaling
        makes zero of. OpenCV interpolates as torch does, in a tenth of the time.
        """
        n, _, height, width = logits_n1ss.shape
        height, width, above, left = CELL * height, CELL * width, CELL + 1, 2 * CELL
        out_nhw = torch.empty(n, above + height, left + width)
        out_nhw[:, :above] = self._outside
        out_nhw[:, :, :left] = self._outside
        masks_nhw = out_nhw[:, above:, left:]
        for logits_hw, mask_hw in zip(logits_n1ss[:, 0].numpy(), masks_nhw.numpy(), strict=True):
            cv2.resize(logits_hw, (width, height), dst=mask_hw, interpolation=cv2.INTER_LINEAR)
        if binary:
            masks_nhw.copy_(masks_nhw > 0)
        else:
            masks_nhw.sigmoid_()
        return out_nhw.view(n, above + height, -1, CELL).permute(0, 3, 1, 2)


class Conv(nn.Module):
    """A convolution whose weights are no parameters, by oneDNN's operator with what it fuses."""

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight_oihw: Tensor,
        bias_o: Tensor | None,
        dtype: torch.dtype,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: int = 0,
    ) -> None:
        super().__init__()
        weight_oihw = weight_oihw.to(dtype).contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight_oihw, persistent=False)
        self.register_buffer("bias", None if bias_o is None else bias_o.to(dtype), persistent=False)
        self._geometry = ([padding, padding], list(stride), [1, 1])

    def forward(self, x_nchw: Tensor, *, gelu: bool = False) -> Tensor:
        """Convolve; each channel by itself where the weights have one input channel."""
        groups = x_nchw.shape[1] // self.weight.shape[1]
        after = "gelu" if gelu else "none"
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x_nchw, self.weight, self.bias, *self._geometry, groups, after, [], "none"
        )
        return out

    def times(self, x_nchw: Tensor, factor_nchw: Tensor) -> Tensor:
        """Convolve, and multiply with something of the result's shape."""
        out: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x_nchw,
            factor_nchw,
            self.weight,
            self.bias,
            *self._geometry,
            1,
            "mul",
            None,
            None,
            [],
            None,
        )
        return out


class Linear(nn.Module):
    """A linear layer whose weights are no parameters."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight_oi: Tensor, bias_o: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", weight_oi.to(dtype), persistent=False)
        self.register_buffer("bias", bias_o.to(dtype), persistent=False)

    def forward(self, x_nhwc: Tensor) -> Tensor:
        """Project the last dimension."""
        return F.linear(x_nhwc, self.weight, self.bias)


class WideLevel(nn.Module):
    """A convolution, the norm over its many channels and GELU, as in `MaskDownSampler` of sam2."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: Conv, norm: LayerNorm2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv, self._eps = conv, norm.eps
        self.register_buffer("weight", norm.weight.to(dtype), persistent=False)
        self.register_buffer("bias", norm.bias.to(dtype), persistent=False)

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Go down one level, channels last."""
        x_nhwc = self.conv(x_nchw).permute(0, 2, 3, 1)
        normed_nhwc = F.layer_norm(x_nhwc, self.weight.shape, self.weight, self.bias, self._eps)
        return F.gelu(normed_nhwc).permute(0, 3, 1, 2)


class NarrowLevel(nn.Module):
    """The same with few channels, where products with matrices of ones are faster than sums.

    The convolution's weights are such that the mean over channels is zero, so that only the
    variance is left to be found.
    """

    def __init__(
        self,
        conv: Conv,
        norm: LayerNorm2d,
        dtype: torch.dtype,
        *,
        pixels: int = 1,
        norm_dtype: torch.dtype | None = None,
    ) -> None:
        """Put together a level.

        Args:
            conv: Its channels are those of some pixels, one pixel after the other.
            norm: Over the channels of one pixel.
            dtype: To compute in what is normed, and of the result.
            pixels: How many pixels the channels are of.
            norm_dtype: To compute in until then; None for the same.
        """
        super().__init__()
        self.conv, self._dtype = conv, dtype
        norm_dtype = norm_dtype or dtype
        columns = max(pixels, FEW_COLUMNS)
        own_pc = torch.eye(pixels).repeat_interleave(len(norm.weight), 1)
        belongs_kc = own_pc.repeat(columns // pixels, 1)
        mean, share = belongs_kc / len(norm.weight), belongs_kc.T * pixels / columns
        self.variance = Conv(mean[..., None, None], torch.full((columns,), norm.eps), norm_dtype)
        self.spread = Conv(share[..., None, None], None, norm_dtype)
        weight, bias = norm.weight.repeat(pixels), norm.bias.repeat(pixels)
        self.affine = Conv(weight[:, None, None, None], bias, dtype)

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Go down one level, channels last."""
        centred_nchw = self.conv(x_nchw)
        variance_nkhw = self.variance(centred_nchw.square())
        # torch's rsqrt rounds bf16 otherwise at the end of a thread's share, these two never do.
        scale_nkhw = variance_nkhw.float().sqrt_().reciprocal_().to(variance_nkhw.dtype)
        normed_nchw = self.spread.times(scale_nkhw, centred_nchw).to(self._dtype)
        out: Tensor = self.affine(normed_nchw, gelu=True)
        return out


class FirstLevel(NarrowLevel):
    """From pixels to cells of 2x2 outputs, those above and to the left of the image zero."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Go down to cells [n, 16, 1 + height / 4, 1 + width / 4], channels last."""
        cells_nchw = super().forward(x_nchw)
        cells_nchw[:, :, 0] = 0
        cells_nchw[..., 0] = 0
        return cells_nchw


def use_fast_memory_encoder(network: SAM2Base, dtype: torch.dtype) -> None:
    """Give a network in eval mode on a CPU, in place, a memory encoder that computes in `dtype`.

    Needs the operator that `tracker.models.optim.fused_conv.can_fuse` looks for.
    """
    network.memory_encoder = FastMemoryEncoder(
        network.memory_encoder,
        scale=network.sigmoid_scale_for_mem_enc,
        bias=network.sigmoid_bias_for_mem_enc,
        dtype=dtype,
    ).eval()


def _levels(
    encoder: Iterable[nn.Module], *, scale: float, bias: float, dtype: torch.dtype
) -> nn.Sequential:
    """The levels of a `MaskDownSampler`'s encoder: convolution, norm and GELU, four times."""
    convs = [m for m in encoder if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    norms = [m for m in encoder if isinstance(m, LayerNorm2d)]
    assert {(m.stride, m.padding) for m in convs} == {((2, 2), (1, 1))}  # in all of sam2's
    (conv_1, conv_2, conv_3, conv_4), (norm_1, norm_2, norm_3, norm_4) = convs, norms
    weight_2, bias_2 = _centred(conv_2)
    return nn.Sequential(
        FirstLevel(
            _first_conv(conv_1, scale, bias, torch.float32),
            norm_1,
            dtype,
            pixels=4,
            norm_dtype=torch.float32,
        ),
        NarrowLevel(Conv(_from_cells(weight_2), bias_2, dtype), norm_2, dtype),
        NarrowLevel(Conv(*_centred(conv_3), dtype, stride=(2, 2), padding=1), norm_3, dtype),
        WideLevel(Conv(conv_4.weight, conv_4.bias, dtype, stride=(2, 2), padding=1), norm_4, dtype),
    )


def _first_conv(conv: nn.Conv2d, scale: float, bias: float, dtype: torch.dtype) -> Conv:
    """The first convolution with the scaling of the masks before it.

    The bias goes with the weights as they are rounded, so that masks of 0 fare no worse than of 1.
    """
    weight_o1hw, bias_o = _centred(conv)
    weight_o1hw = (weight_o1hw * scale).to(dtype).double()
    bias_o = bias_o + weight_o1hw.sum((1, 2, 3)) * (bias / scale)
    return Conv(_from_rows(weight_o1hw), bias_o.repeat(4), dtype, stride=(CELL, 1))


def _centred(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias, float64, that give the outputs less their mean over channels."""
    weight_oihw, bias_o = conv.weight.double(), conv.bias.double()  # type: ignore[union-attr]
    return weight_oihw - weight_oihw.mean(0), bias_o - bias_o.mean()


def _from_rows(weight_o1hw: Tensor) -> Tensor:
    """Kernel [4 * o, 4, 5, 2] from pixels, four a channel vector, to cells of 2x2 outputs.

    The input begins a row and four pixels before the first cell's.
    """
    out = weight_o1hw.new_zeros(2, 2, len(weight_o1hw), 4, 5, 2)
    for down, right, y, x in _each(2, 2, 3, 3):
        column = CELL + 2 * right - 1 + x
        out[down, right, :, column % 4, 2 * down + y, column // 4] = weight_o1hw[:, 0, y, x]
    return out.flatten(0, 2)


def _from_cells(weight_oihw: Tensor) -> Tensor:
    """Kernel [o, 4 * i, 2, 2], stride 1, from cells of 2x2 pixels, for one from pixels, stride 2.

    The input begins a cell before the first output's.
    """
    o, i = weight_oihw.shape[:2]
    out = weight_oihw.new_zeros(o, 2, 2, i, 2, 2)
    for y, x in _each(3, 3):
        out[:, (y + 1) % 2, (x + 1) % 2, :, (y + 1) // 2, (x + 1) // 2] = weight_oihw[:, :, y, x]
    return out.flatten(1, 3)


def _each(*sizes: int) -> list[list[int]]:
    indices: list[list[int]] = torch.cartesian_prod(*map(torch.arange, sizes)).tolist()
    return indices


def _pointwise(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight [o, i] and bias [o] of a 1x1 convolution."""
    return conv.weight[:, :, 0, 0].double(), conv.bias.double()  # type: ignore[union-attr]


def _then(first: tuple[Tensor, Tensor], out_proj: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of one of two summands and of the projection of their sum, in one."""
    if not isinstance(out_proj, nn.Conv2d):
        return first
    (weight_oi, bias_o), (then_oi, then_o) = first, _pointwise(out_proj)
    return then_oi @ weight_oi, then_oi @ bias_o + then_o / 2


def _pooled(x_nchw: Tensor, pool: int) -> Tensor:
    return x_nchw if pool == 1 else F.avg_pool2d(x_nchw, pool)
