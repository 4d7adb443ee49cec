"""Attention by plain products equals torch's fused kernel, up to rounding."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sam2.modeling.backbones.hieradet import Hiera, MultiScaleAttention
from sam2.modeling.sam.transformer import RoPEAttention
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.apart import apart
from tracker.models.optim.attention import (
    PlainMultiScaleAttention,
    plain_attention,
    use_plain_attention_in_trunk,
)
from tracker.models.sam2 import attention
from tracker.models.sam2.derived import Derived

POOL = nn.MaxPool2d(2, 2)


@pytest.mark.parametrize("pool", [None, POOL], ids=["all queries", "pooled queries"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_hieras_attention(pool: nn.Module | None, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    original = MultiScaleAttention(32, 64, 4, q_pool=pool).requires_grad_(False)
    x_nhwc = torch.randn(6, 8, 8, 32)
    exact = copy.deepcopy(original).double()(x_nhwc.double())
    ours = PlainMultiScaleAttention(copy.deepcopy(original).to(dtype))(x_nhwc.to(dtype))
    theirs = original.to(dtype)(x_nhwc.to(dtype))
    assert ours.shape == theirs.shape == exact.shape
    assert apart(ours, exact) <= 1.5 * apart(theirs, exact) + 1e-7


def test_every_attention_of_a_hiera_is_replaced_and_no_weight_renamed() -> None:
    trunk = Hiera(embed_dim=16, num_heads=1, stages=(1, 2, 2, 1), global_att_blocks=(3,))
    names = set(trunk.state_dict())
    use_plain_attention_in_trunk(trunk)
    kinds = {type(block.attn) for block in trunk.blocks}
    assert kinds == {PlainMultiScaleAttention} and set(trunk.state_dict()) == names


@pytest.mark.parametrize("queries", [1, 3], ids=["shared queries", "own queries"])
def test_queries_by_parts(queries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    q = torch.randn(queries, 50, 16).bfloat16()
    k, v = torch.randn(3, 70, 16).bfloat16(), torch.randn(3, 70, 8).bfloat16()
    whole = attention._attend(q, k, v, plainly=True)
    monkeypatch.setattr(attention, "SCORES_BYTES", 7 * 70 * 2)  # seven queries at a time
    assert torch.equal(attention._attend(q, k, v, plainly=True), whole)
    exact = F.scaled_dot_product_attention(q.double().expand(3, -1, -1), k.double(), v.double())
    assert apart(whole, exact) < 0.02


class LargestTensor(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the largest tensor that an operation returns."""

    largest = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.largest = max(self.largest, out.nbytes)
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_of_all_objects_are_never_held_at_once(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp32 too: a CPU has no fused kernel for values of few channels."""
    monkeypatch.setattr(attention, "SCORES_BYTES", 1 << 14)
    rope = RoPEAttention(embedding_dim=16, num_heads=1, feat_sizes=[8, 8], kv_in_dim=8)
    rope = rope.requires_grad_(False).to(dtype)
    rope.plain_products = dtype == torch.bfloat16
    memory = attention.Memory(
        torch.randn(6, 3 * 64, 8, dtype=dtype), torch.zeros(6, 3 * 64, 8, dtype=dtype), 64, 0
    )
    query = torch.randn(6, 64, 16, dtype=dtype)
    with LargestTensor() as seen:  # type: ignore[no-untyped-call]
        found = attention._recall(rope, query, [memory], Derived(), places=True)
    assert found.shape == (6, 64, 16)
    assert seen.largest < 6 * 64 * (3 * 64) * dtype.itemsize


@pytest.mark.parametrize("shift", [-2000.0, 0.0, 2000.0])
def test_scores_beyond_the_range_of_floats(shift: float) -> None:
    """What is the same for all keys changes nothing."""
    torch.manual_seed(0)
    q, k, v = torch.randn(5, 16), torch.randn(70, 16), torch.randn(70, 8)
    q[:, 0], k[:, 0] = 1, 0
    far_q, far_k = q.clone(), k.clone()
    far_k[:, 0] = shift
    near = F.scaled_dot_product_attention(q.double()[None], k.double()[None], v.double()[None])[0]
    assert apart(plain_attention(far_q, far_k, v), near) < 1e-3
    half = plain_attention(far_q.bfloat16(), far_k.bfloat16(), v.bfloat16())
    assert half.isfinite().all()
    if shift == 0:
        assert apart(half, near) < 0.02


@pytest.mark.parametrize("at_once", [1, 2 * 9 * 16, 5 * 9 * 16], ids=["a map", "two", "an object"])
def test_keys_rotated_by_parts(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    rope = RoPEAttention(embedding_dim=16, num_heads=1, feat_sizes=[3, 3], kv_in_dim=8)
    memory = attention.Memory(
        torch.randn(3, 4 * 9 + 2, 8), torch.randn(3, 4 * 9 + 2, 8), map_tokens=9, pointer_tokens=2
    )
    turns = attention._turns(rope, 9, Derived())
    of_one_piece = attention._keys(rope, memory, turns, Derived(), places=True)  # with gradients
    monkeypatch.setattr(attention, "ROTATED_AT_ONCE", at_once)
    with torch.inference_mode():
        assert torch.equal(
            attention._keys(rope, memory, turns, Derived(), places=True), of_one_piece
        )
