"""SAM 2's memory attention, with what all objects share computed once.

Follows `sam2.modeling.memory_attention.MemoryAttention` and `RoPEAttention`, whose weights it
uses. The image is the same for all objects, so the first self-attention and the first queries are
computed for one of them; the official code repeats them for each. Shapes: n objects, q tokens of
the image, l tokens of memory, c channels, d channels of a head.
"""

import torch
import torch.nn.functional as F
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor

#: Attention scores of a few objects that fit the cache of a common CPU.
SCORES_BYTES = 16 * 2**20


def attend_to_memory(
    attention: MemoryAttention,
    image_1qc: Tensor,
    image_pos_1qc: Tensor,
    memory_nlm: Tensor,
    memory_pos_nlm: Tensor,
    *,
    pointer_tokens: int,
) -> Tensor:
    """Image features as each object's memory sees them, [n, q, c].

    The last `pointer_tokens` tokens of the memory have no place in the image.
    """
    x = image_1qc + 0.1 * image_pos_1qc if attention.pos_enc_at_input else image_1qc
    for layer in attention.layers:
        x = _layer(layer, x, image_pos_1qc, memory_nlm, memory_pos_nlm, pointer_tokens)
    out_nqc: Tensor = attention.norm(x)
    return out_nqc


def _layer(
    layer: MemoryAttentionLayer,
    x: Tensor,
    image_pos: Tensor,
    memory: Tensor,
    memory_pos: Tensor,
    pointer_tokens: int,
) -> Tensor:
    own = layer.norm1(x)
    placed = own + image_pos if layer.pos_enc_at_attn else own
    x = x + _rope_attention(layer.self_attn, placed, placed, own, unplaced=0)
    query = layer.norm2(x)
    query = query + image_pos if layer.pos_enc_at_cross_attn_queries else query
    keys = memory + memory_pos if layer.pos_enc_at_cross_attn_keys else memory
    x = x + _rope_attention(layer.cross_attn_image, query, keys, memory, unplaced=pointer_tokens)
    hidden = layer.activation(layer.linear1(layer.norm3(x)))
    out: Tensor = x + layer.linear2(hidden)
    return out


def _rope_attention(
    attention: RoPEAttention, query: Tensor, keys: Tensor, values: Tensor, *, unplaced: int
) -> Tensor:
    """Attention with rotary positions; the last `unplaced` keys are not rotated."""
    heads = attention.num_heads
    q = attention._separate_heads(attention.q_proj(query), heads)
    k = attention._separate_heads(attention.k_proj(keys), heads)
    v = attention._separate_heads(attention.v_proj(values), heads)
    turns_qd = _turns(attention, q)
    q = _rotate(q, turns_qd)
    placed = k.shape[-2] - unplaced
    k = torch.cat([_rotate(k[..., :placed, :], turns_qd), k[..., placed:, :]], dim=-2)
    out = attention._recombine_heads(_attend(q, k, v))
    projected: Tensor = attention.out_proj(out)
    return projected


def _turns(attention: RoPEAttention, q: Tensor) -> Tensor:
    """Rotations of the image's tokens, complex [q, d / 2], kept by the module for its size."""
    tokens = q.shape[-2]
    if attention.freqs_cis.shape[0] != tokens:
        side = round(tokens**0.5)
        attention.freqs_cis = attention.compute_cis(end_x=side, end_y=side)
    attention.freqs_cis = attention.freqs_cis.to(q.device)
    turns: Tensor = attention.freqs_cis
    return turns


def _rotate(x: Tensor, turns_qd: Tensor) -> Tensor:
    """Rotate tokens [n, heads, k * q, d] by their place; k maps of q tokens follow each other."""
    n, heads, tokens, d = x.shape
    places = turns_qd.shape[0]
    pairs = x.float().reshape(n, heads, tokens // places, places, d // 2, 2)
    turned = torch.view_as_real(torch.view_as_complex(pairs) * turns_qd)
    return turned.reshape(x.shape).to(x.dtype)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention; a query of one object serves the keys of all.

    On a CPU torch's fused kernel multiplies bf16 at half the speed of the plain products. These
    take a few objects at a time, so that their scores stay in the cache between the passes.
    """
    n = k.shape[0]
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q.expand(n, -1, -1, -1), k, v)
    scores_bytes = q[0, ..., 0].numel() * k.shape[-2] * q.element_size()
    at_once = max(1, SCORES_BYTES // scores_bytes)
    q = (q * q.shape[-1] ** -0.5).expand(n, -1, -1, -1)
    parts = (slice(start, start + at_once) for start in range(0, n, at_once))
    return torch.cat([_weighted(q[part], k[part], v[part]) for part in parts])


def _weighted(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.matmul(q, k.transpose(-1, -2))
    return torch.matmul(scores.softmax(dim=-1).to(v.dtype), v)
