"""Attention as two plain matrix products, where torch's fused kernel is slower.

On a CPU the fused kernel (FlashAttention, Dao et al. 2022) multiplies bf16 at half the speed of
plain products: sam2.1-tiny's image encoder takes 0.20 s in it for each of three layers, 0.11 s
here.
"""

import math

import torch
import torch.nn.functional as F
from sam2.modeling.backbones.hieradet import MultiScaleAttention, do_pool
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

_LARGEST = 2.0**100


def prefers_plain_products(q: Tensor) -> bool:
    """True for queries in bf16 on a CPU, for which plain products are faster."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Means of values [..., l, d] by softmax(q k / sqrt(c)), for queries [..., q, c].

    The softmax is of powers of two, and divided by after the second product: that saves a tenth of
    all. Scores far from 0 come near the ends of what floats can tell, which shows in the sums; then
    their largest is subtracted first, as it always is in torch's softmax.
    """
    q = q * (q.shape[-1] ** -0.5 * math.log2(math.e))
    powers = torch.matmul(q, k.transpose(-1, -2)).exp2_()
    sums = powers.sum(dim=-1, keepdim=True)
    if not bool(((sums > 1 / _LARGEST) & (sums < _LARGEST)).all()):
        scores = torch.matmul(q, k.transpose(-1, -2))
        powers = scores.sub_(scores.amax(dim=-1, keepdim=True)).exp2_()
        sums = powers.sum(dim=-1, keepdim=True)
    return torch.matmul(powers, v).div_(sums)


class PlainMultiScaleAttention(MultiScaleAttention):  # type: ignore[misc]
    """Hiera's `MultiScaleAttention` by plain products where they are faster."""

    def __init__(self, original: MultiScaleAttention) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(original.__dict__)  # the same modules, weights and settings

    def forward(self, x_nhwc: Tensor) -> Tensor:
        """Attend within each of n windows."""
        n, h, w, _ = x_nhwc.shape
        q, k, v = self.qkv(x_nhwc).reshape(n, h * w, 3, self.num_heads, -1).unbind(2)
        if self.q_pool:
            q = do_pool(q.reshape(n, h, w, -1), self.q_pool)
            h, w = q.shape[1:3]
            q = q.reshape(n, h * w, self.num_heads, -1)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        if prefers_plain_products(q):
            found = plain_attention(q, k, v)
        else:
            found = F.scaled_dot_product_attention(q, k, v)
        out_nhwc: Tensor = self.proj(found.transpose(1, 2).reshape(n, h, w, -1))
        return out_nhwc


def use_plain_attention(network: SAM2Base) -> None:
    """Let the trunk, if it is a Hiera, and the memory attention use plain products, in place."""
    use_plain_attention_in_trunk(network.image_encoder.trunk)
    for module in network.memory_attention.modules():
        if isinstance(module, RoPEAttention):
            module.plain_products = True  # read by `tracker.models.sam2.attention`


def use_plain_attention_in_trunk(trunk: nn.Module) -> None:
    """Replace each attention of a Hiera, in place; other trunks stay as they are."""
    for parent in list(trunk.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is MultiScaleAttention:
                setattr(parent, name, PlainMultiScaleAttention(child))
