"""SAM 2's memory attention, with what all objects share computed once.

Follows `sam2.modeling.memory_attention.MemoryAttention` and `RoPEAttention`, whose weights it
uses. The image is the same for all objects, so the first self-attention and the first queries are
computed for one of them; the official code repeats them for each. Objects that remember unequally
much attend in groups, and share all but that. Like SAM 2's it has one head.
Shapes: n objects, q tokens of the image, l tokens of memory, c channels, m channels of a memory.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor

from tracker.models.optim.attention import plain_attention, prefers_plain_products
from tracker.models.optim.dtype_cache import compute_dtype
from tracker.models.sam2.derived import Derived

#: Attention scores that are computed in one go: they should fit the cache of a common CPU.
SCORES_BYTES = 32 * 2**20
#: Numbers that are rotated in one go, in float32, for the same reason.
ROTATED_AT_ONCE = 2**20


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory tokens of n objects, as many of each.

    Attributes:
        tokens_nlm: Maps of `map_tokens` tokens each, then `pointer_tokens` without a place.
        pos_nlm: Where and when each token is.
        map_tokens: Tokens of a map; where it has fewer than the image, of pooled squares of them.
        pointer_tokens: Tokens without a place in the image.
    """

    tokens_nlm: Tensor
    pos_nlm: Tensor
    map_tokens: int
    pointer_tokens: int


def attend_to_memory(
    attention: MemoryAttention,
    image_1qc: Tensor,
    image_pos_1qc: Tensor,
    memories: Sequence[Memory],
    derived: Derived,
) -> Tensor:
    """Image features as each object's memory sees them, [n, q, c], group after group.

    They and the memories are in the dtype that is computed in.
    """
    if not getattr(attention, "one_dtype", False):
        return _through_layers(attention, image_1qc, image_pos_1qc, memories, derived)
    dtype = compute_dtype(image_1qc)
    with torch.autocast(image_1qc.device.type, enabled=False):
        attention = _in_dtype(attention, dtype, derived)
        image, positions = image_1qc.to(dtype), image_pos_1qc.to(dtype)
        return _through_layers(attention, image, positions, memories, derived)


def _in_dtype(attention: MemoryAttention, dtype: torch.dtype, derived: Derived) -> MemoryAttention:
    """The memory attention with its weights in `dtype`."""
    weight, kept = attention.norm.weight, derived.attention
    if weight.dtype == dtype:
        return attention
    key = (attention, dtype, weight.device)
    if key not in kept:
        kept[key] = deepcopy(attention).to(dtype)
    return kept[key]


def _through_layers(
    attention: MemoryAttention,
    image_1qc: Tensor,
    image_pos_1qc: Tensor,
    memories: Sequence[Memory],
    derived: Derived,
) -> Tensor:
    x = image_1qc + 0.1 * image_pos_1qc if attention.pos_enc_at_input else image_1qc
    for layer in attention.layers:
        x = _layer(layer, x, image_pos_1qc, memories, derived)
    out_nqc: Tensor = attention.norm(x)
    return out_nqc


def _layer(
    layer: MemoryAttentionLayer,
    x: Tensor,
    image_pos: Tensor,
    memories: Sequence[Memory],
    derived: Derived,
) -> Tensor:
    own = layer.norm1(x)
    placed = own + image_pos if layer.pos_enc_at_attn else own
    x = x + _attend_to_itself(layer.self_attn, placed, own, derived)
    query = layer.norm2(x)
    query = query + image_pos if layer.pos_enc_at_cross_attn_queries else query
    x = x + _recall(
        layer.cross_attn_image, query, memories, derived, places=layer.pos_enc_at_cross_attn_keys
    )
    hidden = layer.activation(layer.linear1(layer.norm3(x)))
    out: Tensor = x + layer.linear2(hidden)
    return out


def _attend_to_itself(
    attention: RoPEAttention, placed: Tensor, own: Tensor, derived: Derived
) -> Tensor:
    """Self-attention of the image's tokens, with rotary positions."""
    turns_qd = _turns(attention, placed.shape[1], derived)
    q, k = _rotate(attention.q_proj(placed), turns_qd), _rotate(attention.k_proj(placed), turns_qd)
    own = _projected(attention, own, derived)
    return _attend(q, k, own, plainly=_plainly(attention, q))


def _recall(
    attention: RoPEAttention,
    query: Tensor,
    memories: Sequence[Memory],
    derived: Derived,
    *,
    places: bool,
) -> Tensor:
    """Attention of the image's tokens to memories, group by group.

    Values are averaged in the few channels of a memory, and projected once a token of the image.
    """
    turns_qd = _turns(attention, query.shape[1], derived)
    q = _rotate(attention.q_proj(query), turns_qd)
    sizes = [len(memory.tokens_nlm) for memory in memories]
    queries = [q] * len(sizes) if len(q) == 1 else torch.split(q, sizes)
    found = [
        _attend(
            own,
            _keys(attention, memory, turns_qd, derived, places=places),
            memory.tokens_nlm,
            plainly=_plainly(attention, own),
        )
        for own, memory in zip(queries, memories, strict=True)
    ]
    return _projected(attention, torch.cat(found) if len(found) > 1 else found[0], derived)


def _keys(
    attention: RoPEAttention, memory: Memory, turns_qd: Tensor, derived: Derived, *, places: bool
) -> Tensor:
    """Keys [n, l, c] of memories, of which pointers are not rotated."""
    tokens_nlm = memory.tokens_nlm + memory.pos_nlm if places else memory.tokens_nlm
    k: Tensor = attention.k_proj(tokens_nlm)
    placed = k.shape[1] - memory.pointer_tokens
    turns_kd = _map_turns(attention, turns_qd, memory.map_tokens, derived)
    if k.requires_grad:
        return torch.cat([_rotate(k[:, :placed], turns_kd), k[:, placed:]], dim=1)
    maps_nkqc = torch.unflatten(k[:, :placed], 1, (-1, memory.map_tokens))
    for maps in _blocks(maps_nkqc):
        maps.copy_(_rotate(maps.flatten(1, 2), turns_kd).view_as(maps))
    return k


def _blocks(maps_nkqc: Tensor) -> Iterator[Tensor]:
    """All maps of a few objects at a time, or a few of one: as many as fit the cache."""
    of_map, of_object = maps_nkqc[0, 0].numel(), maps_nkqc[0].numel()
    for objects in torch.split(maps_nkqc, max(1, ROTATED_AT_ONCE // of_object)):
        yield from torch.split(objects, max(1, ROTATED_AT_ONCE // of_map), dim=1)


def _projected(attention: RoPEAttention, values: Tensor, derived: Derived) -> Tensor:
    """Values through their projection and that of the output, which are one: nothing is between.

    An average may be taken before or after it, as weights sum to one.
    """
    first, second = attention.v_proj, attention.out_proj
    if not getattr(attention, "composed_projections", False):
        projected: Tensor = second(first(values))
        return projected
    kept = derived.projections
    key = (attention, first.weight.dtype, first.weight.device)
    if key not in kept:
        outer = second.weight.float()
        weight, bias = (
            outer @ first.weight.float(),
            outer @ first.bias.float() + second.bias.float(),
        )
        kept[key] = weight.to(first.weight.dtype), bias.to(first.weight.dtype)
    return F.linear(values, *kept[key])


def _turns(attention: RoPEAttention, tokens: int, derived: Derived) -> Tensor:
    """Rotations of the image's tokens, complex [q, c / 2]."""
    kept, device = derived.rotations, attention.q_proj.weight.device
    key = (attention, tokens, device)
    if key not in kept:
        turns_qd = attention.freqs_cis
        if turns_qd.shape[0] != tokens:
            side = round(tokens**0.5)
            turns_qd = attention.compute_cis(end_x=side, end_y=side)
        kept[key] = turns_qd.to(device)
    return kept[key]


def _map_turns(
    attention: RoPEAttention, turns_qd: Tensor, map_tokens: int, derived: Derived
) -> Tensor:
    """Rotations of a map's tokens, which are the image's where it has as many."""
    if map_tokens == len(turns_qd):
        return turns_qd
    kept = derived.rotations
    key = (attention, len(turns_qd), map_tokens, turns_qd.device)
    if key not in kept:
        kept[key] = _pooled_turns(turns_qd, map_tokens)
    return kept[key]


def _pooled_turns(turns_qd: Tensor, map_tokens: int) -> Tensor:
    """Rotations of the tokens of a pooled map: one of a square of tokens lies in its middle."""
    tokens, d = turns_qd.shape
    side = round(map_tokens**0.5)
    pool = round(tokens**0.5) // side
    mean_kd = turns_qd.reshape(side, pool, side, pool, d).mean(dim=(1, 3)).flatten(0, 1)
    return mean_kd / mean_kd.abs()


def _rotate(x_ntc: Tensor, turns_qd: Tensor) -> Tensor:
    """Rotate tokens by their place; the tokens are maps of q tokens, one after the other."""
    n, tokens, c = x_ntc.shape
    places = turns_qd.shape[0]
    pairs = x_ntc.float().reshape(n, tokens // places, places, c // 2, 2)
    turned = torch.view_as_real(torch.view_as_complex(pairs) * turns_qd)
    return turned.reshape(x_ntc.shape).to(x_ntc.dtype)


def _plainly(attention: RoPEAttention, q: Tensor) -> bool:
    return getattr(attention, "plain_products", False) and prefers_plain_products(q)


def _attend(q: Tensor, k: Tensor, v: Tensor, *, plainly: bool) -> Tensor:
    """Softmax attention of one head; a query of one object serves the keys of all.

    Plain products take one object at a time, or some of its queries, so that scores stay in the
    cache between the passes and need little memory: all of an official model's would be 235 MB.
    So does a CPU where values have other channels than queries, as those of memories: its fused
    kernel wants as many, and without it torch holds all scores at once.
    """
    n = k.shape[0]
    v = v.to(q.dtype)
    q = q.expand(n, -1, -1)
    is_fused = q.device.type != "cpu" or q.shape[-1] == v.shape[-1] or q.requires_grad
    if is_fused and not plainly:
        q, k, v = (x.unsqueeze(1) for x in (q.contiguous() if q.is_cuda else q, k, v))  # one head
        return F.scaled_dot_product_attention(q, k, v).squeeze(1)
    attend = plain_attention if plainly else F.scaled_dot_product_attention
    at_once = max(1, SCORES_BYTES // (k.shape[1] * k.element_size()))
    found = [
        attend(part, keys, values)
        for queries, keys, values in zip(q, k, v, strict=True)
        for part in torch.split(queries, at_once)
    ]
    return torch.cat(found).view(n, q.shape[1], -1)
