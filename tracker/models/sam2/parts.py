"""Modules of the sam2 package that networks which are built by hand have in common."""

from typing import Any

from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention


def sine_encoding(channels: int) -> PositionEmbeddingSine:
    """Sine positions of so many channels, as in SAM 2's configurations."""
    return PositionEmbeddingSine(channels, normalize=True, temperature=10000)


def memory_attention(
    *,
    side: int,
    channels: int,
    memory_channels: int,
    feedforward: int,
    layers: int,
    dropout: float = 0.0,
) -> MemoryAttention:
    """Memory attention with rotary positions, as in SAM 2's configurations.

    Args:
        side: Of the coarsest feature map, in tokens.
        channels: Of the image features.
        memory_channels: Of a memory's tokens.
        feedforward: Hidden channels of a layer.
        layers: How many.
        dropout: In training.
    """

    def attention(**extra: Any) -> RoPEAttention:
        return RoPEAttention(
            rope_theta=10000.0,
            feat_sizes=[side, side],
            embedding_dim=channels,
            num_heads=1,
            downsample_rate=1,
            dropout=dropout,
            **extra,
        )

    layer = MemoryAttentionLayer(
        activation="relu",
        cross_attention=attention(rope_k_repeat=True, kv_in_dim=memory_channels),
        d_model=channels,
        dim_feedforward=feedforward,
        dropout=dropout,
        pos_enc_at_attn=False,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        self_attention=attention(),
    )
    return MemoryAttention(d_model=channels, pos_enc_at_input=True, layer=layer, num_layers=layers)
