"""EfficientTAM: the sam2 modules over timm's ViT with windows, as its authors configure them.

Their own package installs modules under the name `sam2`, over those of the real one; here the parts
that differ are built of timm's. The variants with pooled memory attention are left out.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sam2.modeling.backbones.image_encoder import ImageEncoder
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn

from tracker.errors import ModelError
from tracker.models.sam2.build import PREDICTOR_FLAGS
from tracker.models.sam2.parts import memory_attention, sine_encoding
from tracker.models.timm_parts import VisionTransformerSAM

CHANNELS, MEMORY_CHANNELS = 256, 64
PATCH, WINDOW, DEPTH = 16, 14, 12
GLOBAL_BLOCKS = (2, 5, 8, 11)
_TRUNK = "image_encoder.trunk."
# The flags of efficienttam_ti.yaml.
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
}


class Architecture(BaseModel):
    """The sizes of an EfficientTAM.

    Attributes:
        width: Channels of the trunk.
        heads: Heads of its attention, of which the width is a multiple.
        image_size: Side of the input in pixels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: Annotated[int, Field(gt=0, le=4096)]
    heads: Annotated[int, Field(gt=0, le=64)]
    image_size: Annotated[int, Field(gt=0, le=4096, multiple_of=PATCH)]


#: By `ModelSpec.config`.
ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "ti": Architecture(width=192, heads=3, image_size=1024),
        "s": Architecture(width=384, heads=6, image_size=1024),
        "ti-512": Architecture(width=192, heads=3, image_size=512),
        "s-512": Architecture(width=384, heads=6, image_size=512),
    }
)


def read_architecture(config: str, weights: Path) -> Architecture:
    """The sizes in the JSON beside weights, of their name, else those of `ModelSpec.config`.

    Raises:
        ModelError: There is such a file, and it is none of sizes.
    """
    path = weights.with_suffix(".json")
    if not path.is_file():
        return ARCHITECTURES[config]
    try:
        return Architecture.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as err:
        reason = err.errors()[0]["msg"] if isinstance(err, ValidationError) else err.strerror
        raise ModelError(f"{path} does not hold the sizes of an EfficientTAM: {reason}") from err


class ViTTrunk(VisionTransformerSAM):
    """A plain ViT of which most blocks attend within windows; one map, of stride 16."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__(
            img_size=arch.image_size,
            patch_size=PATCH,
            num_classes=0,
            embed_dim=arch.width,
            depth=DEPTH,
            num_heads=arch.heads,
            norm_layer=None,  # with an epsilon of 1e-6
            window_size=WINDOW,
            global_attn_indexes=GLOBAL_BLOCKS,
            neck_chans=0,
        )
        for part in ("neck", "head"):  # timm's are a norm and a classifier
            self.add_module(part, nn.Identity())
        self.channel_list = [arch.width]

    def forward(self, image_nchw: Tensor) -> list[Tensor]:
        """The map, [n, c, h, w]."""
        map_nchw: Tensor = self.forward_features(image_nchw)  # type: ignore[no-untyped-call]
        return [map_nchw]


class ViTNeck(nn.Module):
    """Simple feature pyramid of one level (ViTDet, Li et al. 2022): 1x1 and 3x3, each normed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.d_model, self.backbone_channel_list = CHANNELS, [channels]
        self.position_encoding = sine_encoding(CHANNELS)
        level = nn.Sequential()
        level.add_module("conv_1x1", nn.Conv2d(channels, CHANNELS, 1, bias=False))
        level.add_module("norm_0", LayerNorm2d(CHANNELS))
        level.add_module("conv_3x3", nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False))
        level.add_module("norm_1", LayerNorm2d(CHANNELS))
        self.convs = nn.ModuleList([level])

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Features of the map and their positions."""
        out_nchw = self.convs[0](levels[0])
        return [out_nchw], [self.position_encoding(out_nchw).to(out_nchw.dtype)]


def build_efficienttam(
    arch: Architecture, cls: type[SAM2Base] = SAM2Base, **extra: Any
) -> SAM2Base:
    """Build an EfficientTAM with random weights, on the CPU, in training mode.

    Args:
        arch: Its sizes.
        cls: `SAM2Base` or a subclass, such as the official `SAM2VideoPredictor`.
        extra: Further arguments of `cls`.
    """
    network: SAM2Base = cls(
        image_encoder=ImageEncoder(ViTTrunk(arch), ViTNeck(arch.width)),
        memory_attention=memory_attention(
            side=arch.image_size // PATCH,
            channels=CHANNELS,
            memory_channels=MEMORY_CHANNELS,
            feedforward=2048,
            layers=4,
            dropout=0.1,
        ),
        memory_encoder=_memory_encoder(),
        num_maskmem=7,
        image_size=arch.image_size,
        **(_FLAGS | PREDICTOR_FLAGS | extra),
    )
    return network


def renamed(state: Mapping[str, Tensor], arch: Architecture) -> dict[str, Tensor]:
    """Published weights under timm's names, positions interpolated to the input's size."""
    tensors = dict(state)
    for key in [key for key in state if key.startswith(f"{_TRUNK}blocks.") and ".mlp." in key]:
        new = key.replace(".layers.0.", ".fc1.").replace(".layers.1.", ".fc2.")
        tensors[new] = tensors.pop(key)
    key = f"{_TRUNK}pos_embed"
    if key in tensors and tensors[key].ndim == 3:
        tensors[key] = _positions(tensors[key], arch.image_size // PATCH)
    return tensors


def _positions(pretrained_1pc: Tensor, side: int) -> Tensor:
    """Positions [1, side, side, c] of those of a square of tokens and a class token before them."""
    grid_1pc = pretrained_1pc[:, 1:]
    before = round(grid_1pc.shape[1] ** 0.5)
    grid_1chw = grid_1pc.float().reshape(1, before, before, -1).permute(0, 3, 1, 2)
    if before != side:
        grid_1chw = F.interpolate(grid_1chw, (side, side), mode="bicubic", align_corners=False)
    return grid_1chw.permute(0, 2, 3, 1)


def _memory_encoder() -> MemoryEncoder:
    block = CXBlock(CHANNELS, kernel_size=7, padding=3, layer_scale_init_value=1e-6)
    return MemoryEncoder(
        out_dim=MEMORY_CHANNELS,
        mask_downsampler=MaskDownSampler(kernel_size=3, stride=2, padding=1),
        fuser=Fuser(block, num_layers=2),
        position_encoding=sine_encoding(MEMORY_CHANNELS),
        in_dim=CHANNELS,
    )
