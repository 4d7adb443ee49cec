"""Layers fused or folded into their neighbours: the same network in fewer passes over memory."""

import torch
import torch.nn.functional as F
from sam2.modeling.backbones.image_encoder import FpnNeck
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

FEW_CHANNELS = 16


class ChannelNorm(LayerNorm2d):  # type: ignore[misc]
    """`LayerNorm2d` in fewer passes over memory.

    Torch's own layer norm takes one pass where the original takes seven, but needs many channels
    to be fast; with few of them, sums over whole planes are.
    """

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Normalise over channels."""
        channels = x_nchw.shape[1]
        if channels <= FEW_CHANNELS:
            return self._by_planes(x_nchw.float())
        x_nhwc = x_nchw.permute(0, 2, 3, 1)
        normed = F.layer_norm(x_nhwc, (channels,), self.weight, self.bias, self.eps)
        return normed.permute(0, 3, 1, 2)

    def _by_planes(self, x_nchw: Tensor) -> Tensor:
        centred = x_nchw - x_nchw.mean(1, keepdim=True)
        scale = centred.square().mean(1, keepdim=True).add_(self.eps).rsqrt_()
        return torch.addcmul(
            self.bias[:, None, None], centred.mul_(scale), self.weight[:, None, None]
        )


class NarrowNeck(nn.Module):
    """`FpnNeck` and the decoder's projections of the two finest levels in one step.

    Nothing is added to these levels from above, so two 1x1 convolutions follow each other and are
    one: wide maps at stride 4 and 8 are never made. Only the top level's positions are computed,
    since nobody reads the others.
    """

    def __init__(self, neck: FpnNeck, to_fine: nn.Conv2d, to_middle: nn.Conv2d) -> None:
        super().__init__()
        coarse, top, middle, fine = (level.conv for level in neck.convs)
        self.coarse, self.top = coarse, top
        self.middle, self.fine = _composed(middle, to_middle), _composed(fine, to_fine)
        self.position_encoding = neck.position_encoding

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor | None]]:
        """Features of the trunk's levels, finest first, and the positions of the third."""
        fine, middle, top, coarse = levels
        above = self.coarse(coarse)
        out = self.top(top) + F.interpolate(above.float(), scale_factor=2.0, mode="nearest")
        position = self.position_encoding(out).to(out.dtype)
        return [self.fine(fine), self.middle(middle), out, above], [None, None, position, None]


def use_narrow_neck(network: SAM2Base) -> None:
    """Replace the neck of a network in eval mode, in place; what it encodes stays the same."""
    neck, decoder = network.image_encoder.neck, network.sam_mask_decoder
    assert neck.fpn_top_down_levels == [2, 3] and neck.fuse_type == "sum"  # in all of sam2's
    assert neck.fpn_interp_model == "nearest" and network.use_high_res_features_in_sam
    network.image_encoder.neck = NarrowNeck(neck, decoder.conv_s0, decoder.conv_s1)
    decoder.conv_s0 = decoder.conv_s1 = nn.Identity()


def _composed(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """A 1x1 convolution that does what two in turn do."""
    assert first.bias is not None and second.bias is not None
    one = nn.Conv2d(first.in_channels, second.out_channels, 1)
    with torch.no_grad():
        second_oc = second.weight[:, :, 0, 0].double()
        one.weight.copy_((second_oc @ first.weight[:, :, 0, 0].double())[..., None, None])
        one.bias = nn.Parameter((second_oc @ first.bias.double() + second.bias.double()).float())
    return one.requires_grad_(False)


def use_channel_norm(network: nn.Module) -> None:
    """Replace each `LayerNorm2d` of a module in eval mode, in place."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is LayerNorm2d:
                setattr(parent, name, _channel_norm(child))


def fold_batch_norms(network: nn.Module) -> None:
    """Fold each batch norm of a module in eval mode, in place.

    It goes into the convolution that its parent holds just before it.
    """
    for parent in list(network.modules()):
        previous: str | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and previous is not None:
                _fold(parent, previous, name)
            previous = name if isinstance(child, nn.Conv2d) else None


def _channel_norm(norm: LayerNorm2d) -> ChannelNorm:
    fused: ChannelNorm = ChannelNorm(norm.weight.shape[0], norm.eps).eval()
    fused.weight, fused.bias = norm.weight, norm.bias
    return fused


def _fold(parent: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = parent.get_submodule(conv_name), parent.get_submodule(norm_name)
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
    # timm's norms carry the activation that follows.
    rest = [m for m in (getattr(norm, "drop", None), getattr(norm, "act", None)) if m is not None]
    setattr(parent, norm_name, nn.Sequential(*rest))
