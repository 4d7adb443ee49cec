"""pico: the sam2 modules over a small timm trunk, built from the JSON beside its weights."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.sam2_base import SAM2Base

from tracker.errors import ModelError
from tracker.models.model import InputSpec
from tracker.models.pico.top_down import TopDown
from tracker.models.sam2.build import PREDICTOR_FLAGS
from tracker.models.sam2.parts import memory_attention, sine_encoding
from tracker.models.timm_parts import create_model

_TRUNK_STRIDES = [4, 8, 16, 32]
_BACKBONE_STRIDE = 16
# The flags of sam2.1_hiera_t.yaml.
_SAM2_FLAGS: dict[str, Any] = {
    "sigmoid_scale_for_mem_enc": 20.0,
    "sigmoid_bias_for_mem_enc": -10.0,
    "use_mask_input_as_output_without_sam": True,
    "directly_add_no_mem_embed": True,
    "no_obj_embed_spatial": True,
    "use_high_res_features_in_sam": True,
    "multimask_output_in_sam": True,
    "iou_prediction_use_sigmoid": True,
    "use_obj_ptrs_in_encoder": True,
    "add_tpos_enc_to_obj_ptrs": True,
    "proj_tpos_enc_in_obj_ptrs": True,
    "use_signed_tpos_enc_to_obj_ptrs": True,
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


Width = Annotated[int, Field(gt=0, multiple_of=8)]


class PicoArchitecture(BaseModel):
    """The sizes of a pico network.

    Attributes:
        trunk: Name of a timm model that can return feature maps.
        trunk_out_indices: Which of its feature maps have strides 4, 8, 16 and 32.
        d_model: Channels of the image features, a multiple of 16 and of `mem_dim`.
        mem_dim: Channels of a memory, an even number.
        attention_layers: Layers of the memory attention.
        dim_feedforward: Hidden channels of each of those layers.
        fuser_layers: Layers that fuse mask and image in the memory encoder.
        num_maskmem: Memories attended to, the prompted one included.
        memory_stride: A memory keeps the mean of each square of so many by so many tokens, an idea
            of EfficientTAM's memory attention: fewer keys for the same picture. 1 is SAM 2's. Its
            older name `memory_pool` is read, too.
        draws_prompts: Trained to be shown clicks and boxes as a rough mask too.
        follows_masks: Trained to be shown the mask of the frame before on a tracked frame.
        top_down: Channels at strides 8 and 4 of the fusion of coarse features into the finer maps,
            see `pico.top_down`; None leaves the maps as the trunk gives them.
        fine_prompts: Masks that are shown reach the decoder's finest features too, as they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True)

    trunk: str
    trunk_out_indices: tuple[int, int, int, int]
    d_model: Annotated[int, Field(gt=0, multiple_of=16)]
    mem_dim: Annotated[int, Field(gt=0, multiple_of=2)]
    attention_layers: Annotated[int, Field(gt=0)]
    dim_feedforward: Annotated[int, Field(gt=0)]
    fuser_layers: Annotated[int, Field(ge=0)]
    num_maskmem: Annotated[int, Field(gt=1)]
    memory_stride: Annotated[
        Literal[1, 2], Field(validation_alias=AliasChoices("memory_stride", "memory_pool"))
    ] = 1
    draws_prompts: bool = False
    follows_masks: bool = False
    top_down: tuple[Width, Width] | None = None
    fine_prompts: bool = False

    @model_validator(mode="after")
    def _pointers_split_into_memories(self) -> Self:
        if self.d_model % self.mem_dim:
            raise ValueError(f"d_model {self.d_model} is no multiple of mem_dim {self.mem_dim}")
        return self


class PicoConfig(BaseModel):
    """All that is needed to build a pico network and to feed it.

    Attributes:
        architecture: Its sizes.
        input: The pictures that it expects.
        trunk_ranges: Calibrated ranges of the trunk's activations, for
            `tracker.models.optim.int8.trunk`; None where they were not calibrated.
        look_distance: As in `Capabilities`; None where it was not measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: PicoArchitecture
    input: InputSpec
    trunk_ranges: tuple[tuple[FiniteFloat, FiniteFloat], ...] | None = None
    look_distance: Annotated[float, Field(gt=0, lt=1)] | None = None


def read_pico_config(path: Path) -> PicoConfig:
    """Read a pico configuration.

    Raises:
        ModelError: The file is missing, or is not such a configuration.
    """
    try:
        return PicoConfig.model_validate_json(path.read_bytes())
    except OSError as err:
        raise ModelError(f"cannot read the model configuration {path}: {err.strerror}") from err
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ModelError(
            f"{path} is not a pico configuration: {where}: {first['msg']}",
            "use the .json that came with the weights",
        ) from err


class TimmTrunk(torch.nn.Module):
    """A timm model as an image trunk: strides 4, 8, 16, 32 in that order.

    Raises:
        ModelError: timm has no such model, or its feature maps have other strides.
    """

    def __init__(
        self, name: str, out_indices: tuple[int, ...], top_down: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        try:
            body = create_model(name, pretrained=False, features_only=True, out_indices=out_indices)
        except (RuntimeError, ValueError, IndexError, AssertionError) as err:
            raise ModelError(f"timm cannot build the trunk {name!r}: {err}") from err
        info: Any = body.feature_info
        strides = info.reduction()
        if strides != _TRUNK_STRIDES:
            raise ModelError(
                f"trunk {name!r} with trunk_out_indices {list(out_indices)} has strides {strides}",
                f"choose the feature maps with strides {_TRUNK_STRIDES}",
            )
        self.body = body
        self.channel_list: list[int] = info.channels()[::-1]
        self.top_down = None if top_down is None else TopDown(info.channels(), top_down)

    def forward(self, images_nchw: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature maps, NCHW, finest first."""
        features: list[torch.Tensor] = self.body(images_nchw)
        return features if self.top_down is None else self.top_down(features)


def build_pico(config: PicoConfig, cls: type[SAM2Base] = SAM2Base, **extra: Any) -> SAM2Base:
    """Build a pico network with random weights, on the CPU, in training mode.

    Args:
        config: Sizes and input.
        cls: `SAM2Base` or a subclass, such as the official `SAM2VideoPredictor`.
        extra: Further arguments of `cls`.

    Raises:
        ModelError: The trunk cannot be built.
    """
    arch = config.architecture
    trunk = TimmTrunk(arch.trunk, arch.trunk_out_indices, arch.top_down)
    neck = FpnNeck(
        sine_encoding(arch.d_model),
        arch.d_model,
        trunk.channel_list,
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    network = cls(
        image_encoder=ImageEncoder(trunk, neck, scalp=1),
        memory_attention=memory_attention(
            side=config.input.size // _BACKBONE_STRIDE,
            channels=arch.d_model,
            memory_channels=arch.mem_dim,
            feedforward=arch.dim_feedforward,
            layers=arch.attention_layers,
        ),
        memory_encoder=_memory_encoder(arch),
        num_maskmem=arch.num_maskmem,
        image_size=config.input.size,
        **(_SAM2_FLAGS | PREDICTOR_FLAGS | extra),
    )
    network.memory_stride = arch.memory_stride
    network.draws_prompts = arch.draws_prompts
    network.follows_masks = arch.follows_masks
    network.look_distance = config.look_distance
    if arch.fine_prompts:
        network.fine_prompts = torch.nn.Conv2d(1, arch.d_model // 8, 1)
    return network


def _memory_encoder(arch: PicoArchitecture) -> MemoryEncoder:
    block = CXBlock(
        arch.d_model, kernel_size=7, padding=3, layer_scale_init_value=1e-6, use_dwconv=True
    )
    return MemoryEncoder(
        out_dim=arch.mem_dim,
        mask_downsampler=MaskDownSampler(
            embed_dim=arch.d_model, kernel_size=3, stride=2, padding=1
        ),
        fuser=Fuser(block, num_layers=arch.fuser_layers),
        position_encoding=sine_encoding(arch.mem_dim),
        in_dim=arch.d_model,
    )
