"""Names of the weights of `Sam2VideoModel` of transformers, told as those of the sam2 package.

The two are the same network; transformers splits and names its parts otherwise. A checkpoint in its
format is loaded without transformers, and tracks with the same optimizations.
"""

import re
from collections.abc import Mapping

from torch import Tensor

_MARK = "vision_encoder.backbone.patch_embed.projection.weight"
#: The same positional encoding once more, which the sam2 package holds once.
_COPY = "shared_image_embedding.positional_embedding"
_POINTS = "prompt_encoder.point_embed.weight"
_GAUSSIAN = "positional_encoding_gaussian_matrix"
#: In this order, each on what those before it made of a name.
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^no_memory_embedding$", "no_mem_embed"),
        (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
        (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
        (r"^no_object_pointer$", "no_obj_ptr"),
        (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
        (r"^object_pointer_proj\.", "obj_ptr_proj."),
        (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
        (r"\.patch_embed\.projection\.", ".patch_embed.proj."),
        (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
        (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
        (r"shared_embedding\.positional_embedding$", f"pe_layer.{_GAUSSIAN}"),
        (r"mask_embed\.conv1\.", "mask_downscaling.0."),
        (r"mask_embed\.layer_norm1\.", "mask_downscaling.1."),
        (r"mask_embed\.conv2\.", "mask_downscaling.3."),
        (r"mask_embed\.layer_norm2\.", "mask_downscaling.4."),
        (r"mask_embed\.conv3\.", "mask_downscaling.6."),
        (r"^prompt_encoder\.", "sam_prompt_encoder."),
        (r"upscale_conv1\.", "output_upscaling.0."),
        (r"upscale_layer_norm\.", "output_upscaling.1."),
        (r"upscale_conv2\.", "output_upscaling.3."),
        (r"^mask_decoder\.", "sam_mask_decoder."),
        (r"mask_downsampler\.layers\.0\.conv\.", "mask_downsampler.encoder.0."),
        (r"mask_downsampler\.layers\.0\.layer_norm\.", "mask_downsampler.encoder.1."),
        (r"mask_downsampler\.layers\.1\.conv\.", "mask_downsampler.encoder.3."),
        (r"mask_downsampler\.layers\.1\.layer_norm\.", "mask_downsampler.encoder.4."),
        (r"mask_downsampler\.layers\.2\.conv\.", "mask_downsampler.encoder.6."),
        (r"mask_downsampler\.layers\.2\.layer_norm\.", "mask_downsampler.encoder.7."),
        (r"mask_downsampler\.layers\.3\.conv\.", "mask_downsampler.encoder.9."),
        (r"mask_downsampler\.layers\.3\.layer_norm\.", "mask_downsampler.encoder.10."),
        (r"mask_downsampler\.final_conv\.", "mask_downsampler.encoder.12."),
        (r"memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
        (r"memory_encoder\.projection\.", "memory_encoder.out_proj."),
        (r"memory_encoder\.memory_fuser\.", "memory_encoder.fuser."),
        (r"fuser\.layers\.(\d+)\.scale$", r"fuser.layers.\1.gamma"),
        (r"\.depthwise_conv\.", ".dwconv."),
        (r"\.pointwise_conv(\d)\.", r".pwconv\1."),
        (r"\.o_proj\.", ".out_proj."),
        (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
        (r"\.layer_norm(\d?)\.", r".norm\1."),
    )
)  # fmt: skip
#: MLPs by the number of their layers: the inner ones are numbered apart from the first and last.
_THREE_LAYERS = re.compile(
    r"(hypernetworks_mlps\.\d+|iou_prediction_head|score_head|obj_ptr_proj)\."
)
_TWO_LAYERS = re.compile(r"\.mlp\.")


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of the sam2 package; others than `Sam2VideoModel`'s as they are."""
    if _MARK not in state:
        return dict(state)
    tensors = {_name(key): value for key, value in state.items() if key not in (_COPY, _POINTS)}
    for label, embedding_1c in enumerate(state.get(_POINTS, ())):
        key = f"sam_prompt_encoder.point_embeddings.{label}.weight"
        tensors[key] = embedding_1c[None]
    return tensors


def _name(key: str) -> str:
    for pattern, replacement in _RULES:
        key = pattern.sub(replacement, key)
    if _THREE_LAYERS.search(key):
        key = key.replace(".layers.0.", ".layers.1.")
        return key.replace(".proj_in.", ".layers.0.").replace(".proj_out.", ".layers.2.")
    if _TWO_LAYERS.search(key):
        return key.replace(".proj_in.", ".layers.0.").replace(".proj_out.", ".layers.1.")
    return key
