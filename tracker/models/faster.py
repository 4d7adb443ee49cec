"""The same network in fewer passes over memory, up to rounding."""

import torch
import torch.nn.functional as F
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


def speed_up(network: nn.Module) -> None:
    """Rewrite a network in eval mode, in place: layer norms fused, batch norms folded.

    A batch norm is folded into the convolution that its module holds just before it.
    """
    for parent in list(network.modules()):
        previous: tuple[str, nn.Module] | None = None
        for name, child in list(parent.named_children()):
            if type(child) is LayerNorm2d:
                setattr(parent, name, _channel_norm(child))
            if isinstance(child, nn.BatchNorm2d) and previous is not None:
                _fold(parent, previous[0], name)
                child = parent.get_submodule(name)
            previous = (name, child) if isinstance(child, nn.Conv2d) else None


def _channel_norm(norm: LayerNorm2d) -> ChannelNorm:
    fast: ChannelNorm = ChannelNorm(norm.weight.shape[0], norm.eps).eval()
    fast.weight, fast.bias = norm.weight, norm.bias
    return fast


def _fold(parent: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = parent.get_submodule(conv_name), parent.get_submodule(norm_name)
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
    # timm's norms carry the activation that follows.
    rest = [m for m in (getattr(norm, "drop", None), getattr(norm, "act", None)) if m is not None]
    setattr(parent, norm_name, nn.Sequential(*rest))
