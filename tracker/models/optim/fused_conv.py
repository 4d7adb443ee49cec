"""Convolution fused with ReLU6, as a post-op of oneDNN, for bf16 on a CPU."""

import torch
from torch import Tensor, nn

from tracker.models.timm_parts import pad_same

_NAME = "_convolution_pointwise"


class FusedConv(nn.Module):
    """A convolution with a ReLU6 as its post-op; bit for bit the two in turn.

    Torch's compiler emits the same operator, but needs a C++ compiler where it runs and seconds to
    minutes at a start.
    """

    def __init__(self, conv: nn.Conv2d, *, relu6: bool) -> None:
        super().__init__()
        weight = conv.weight.bfloat16().contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight, persistent=False)
        bias = None if conv.bias is None else conv.bias.bfloat16()
        self.register_buffer("bias", bias, persistent=False)
        self._kernel, self._stride = conv.kernel_size, conv.stride
        self._dilation, self._groups = conv.dilation, conv.groups
        # timm's convolutions that pad like TensorFlow do so themselves.
        self._same = type(conv) is not nn.Conv2d
        self._padding = [0, 0] if self._same else list(conv.padding)
        self._post_op = ("hardtanh", [0.0, 6.0], "") if relu6 else ("none", [], "")

    def forward(self, x_nchw: Tensor) -> Tensor:
        """Convolve; the result is bf16."""
        x_nchw = x_nchw.bfloat16()
        if self._same:
            x_nchw = pad_same(x_nchw, list(self._kernel), list(self._stride), list(self._dilation))
        out: Tensor = getattr(torch.ops.mkldnn, _NAME)(
            x_nchw,
            self.weight,
            self.bias,
            self._padding,
            list(self._stride),
            list(self._dilation),
            self._groups,
            *self._post_op,
        )
        return out


def can_fuse() -> bool:
    """True if this torch has the operator, not of its stable interface, and this CPU bf16 for it.

    Without such a processor torch still computes in bf16, slowly, but this operator does not.
    """
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    has_bf16 = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    return available and hasattr(torch.ops.mkldnn, _NAME) and bool(has_bf16())


def fuse_convolutions(module: nn.Module) -> None:
    """Replace, in place, each convolution and the activation that stands where its norm was.

    Norms must be folded first, see `tracker.models.optim.fusion.fold_batch_norms`.
    """
    previous: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            setattr(module, name, FusedConv(child, relu6=False))
        elif previous is not None and _is_relu6(child):
            setattr(module, previous[0], FusedConv(previous[1], relu6=True))
            setattr(module, name, nn.Identity())
        else:
            fuse_convolutions(child)
        previous = (name, child) if isinstance(child, nn.Conv2d) else None


def _is_relu6(module: nn.Module) -> bool:
    """True if a folded norm left nothing but a ReLU6."""
    rest = [m for m in module.children() if not isinstance(m, nn.Identity)]
    return isinstance(module, nn.Sequential) and [type(m) for m in rest] == [nn.ReLU6]
