"""EfficientTAM-Ti, from the wheel `efficient-track-anything`: a plain ViT, no high-resolution maps.

The wheel carries the modules but no configuration, so the sizes below are those that its authors
published (efficienttam_ti.yaml); its weights are random, on which its speed does not depend.
"""

from importlib.metadata import version
from typing import Any

from sam2.modeling.backbones import image_encoder, vitdet
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import (
    CXBlock,
    Fuser,
    MaskDownSampler,
    MemoryEncoder,
)
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.sam2_video_predictor import SAM2VideoPredictor

from tools.bench.peers.predictor import PredictorTracker
from tools.bench.peers.worker import About, Wish, random_weights, serve

CHANNELS, MEMORY_CHANNELS, TRUNK_CHANNELS = 256, 64, 192
INPUT_PX = 1024
_FLAGS: dict[str, Any] = {
    "sigmoid_scale_for_mem_enc": 20.0,
    "sigmoid_bias_for_mem_enc": -10.0,
    "use_mask_input_as_output_without_sam": True,
    "directly_add_no_mem_embed": True,
    "multimask_output_in_sam": True,
    "iou_prediction_use_sigmoid": True,
    "use_obj_ptrs_in_encoder": True,
    "only_obj_ptrs_in_the_past_for_eval": True,
    "pred_obj_scores": True,
    "pred_obj_scores_mlp": True,
    "fixed_no_obj_ptr": True,
    "multimask_output_for_tracking": True,
    "use_multimask_token_for_obj_ptr": True,
    "multimask_min_pt_num": 0,
    "multimask_max_pt_num": 1,
    "use_mlp_for_obj_ptr_proj": True,
    "binarize_mask_from_pts_for_mem_enc": True,
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
}


def build(wish: Wish) -> PredictorTracker:
    """The predictor, put together from its modules."""
    network = SAM2VideoPredictor(
        image_encoder=_image_encoder(),
        memory_attention=_memory_attention(),
        memory_encoder=_memory_encoder(),
        num_maskmem=7,
        image_size=INPUT_PX,
        **_FLAGS,
    )
    versions = {"efficient-track-anything": version("efficient-track-anything")}
    about = About("EfficientTAM-Ti", "random (seed 0)", f"{INPUT_PX} px", versions)
    return PredictorTracker(random_weights(network).to(wish.device), wish, about)


def _image_encoder() -> Any:
    trunk = vitdet.ViT(
        embed_dim=TRUNK_CHANNELS,
        depth=12,
        num_heads=3,
        window_block_indexes=(0, 1, 3, 4, 6, 7, 9, 10),
    )
    neck = image_encoder.ViTDetNeck(
        PositionEmbeddingSine(CHANNELS), CHANNELS, [TRUNK_CHANNELS], neck_norm="LN"
    )
    return image_encoder.ImageEncoder(trunk, neck)


def _memory_attention() -> Any:
    sizes = {"embedding_dim": CHANNELS, "num_heads": 1, "downsample_rate": 1, "dropout": 0.1}
    layer = MemoryAttentionLayer(
        activation="relu",
        cross_attention=RoPEAttention(
            **sizes, rope_k_repeat=True, kv_in_dim=MEMORY_CHANNELS, feat_sizes=(64, 64)
        ),
        d_model=CHANNELS,
        dim_feedforward=2048,
        dropout=0.1,
        pos_enc_at_attn=False,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        self_attention=RoPEAttention(**sizes, feat_sizes=(64, 64)),
    )
    return MemoryAttention(CHANNELS, pos_enc_at_input=True, layer=layer, num_layers=4)


def _memory_encoder() -> Any:
    return MemoryEncoder(
        MEMORY_CHANNELS,
        MaskDownSampler(kernel_size=3, stride=2, padding=1),
        Fuser(CXBlock(CHANNELS), num_layers=2),
        PositionEmbeddingSine(MEMORY_CHANNELS),
    )


if __name__ == "__main__":
    raise SystemExit(serve(build))
