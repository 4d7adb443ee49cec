"""Video networks of transformers as a `VideoModel`: SAM 2's steps over `Sam2VideoModel`'s parts.

`EdgeTamVideoModel` and `Sam3TrackerVideoModel` are of the same architecture and name their parts
alike. The functions follow the methods of `Sam2VideoModel`, which takes objects one by one and
keeps what it remembers of them in a session that grows; here objects go together, and the memory
is the engine's. Shapes as in `tracker.models.base`.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor

from tracker.models.base import (
    Candidates,
    Capabilities,
    Clicks,
    Decoded,
    Features,
    Memories,
    MemorySpec,
)
from tracker.models.candidates import CandidateDecoder
from tracker.models.model import InputSpec
from tracker.models.optim.dtype_cache import compute_dtype
from tracker.models.preprocess import image_tensor

PREVIOUS_LOGITS_LIMIT = 32.0
#: Label of no click.
NO_CLICK = -1


class HuggingFaceModel(CandidateDecoder):
    """A `Sam2VideoModel` or a relative that tracks.

    Attributes:
        module: In eval mode, without gradients, on its device.
        input: The pictures that it expects.
    """

    def __init__(self, module: Any, input_spec: InputSpec) -> None:
        self.module = module
        self.input = input_spec
        with torch.inference_mode():
            self._image_pos_1chw: Tensor = self.module.get_image_wide_positional_embeddings()
            self._map_pos_1qm = self.map_positions()
        self._top_pos: dict[torch.dtype, Tensor] = {}

    @property
    def mask_side(self) -> int:
        """Side of low-resolution masks in pixels."""
        return int(self.module.prompt_encoder.mask_input_size[0])

    @property
    def memory(self) -> MemorySpec:
        """Size and number of the memories."""
        config = self.module.config
        return MemorySpec(
            recent=config.num_maskmem - 1,
            pointers=config.max_object_pointers_in_encoder - 1,
            tokens=self._map_pos_1qm.shape[1],
            map_channels=self.module.mem_dim,
            pointer_channels=self.module.hidden_dim,
        )

    @property
    def capabilities(self) -> Capabilities:
        """Abilities beyond the official SAM 2."""
        return Capabilities(finds_distractors=True)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the coarsest features."""
        h, w = self.module.prompt_encoder.image_embedding_size
        return h, w

    def encode_image(self, picture_hwc: NDArray[np.uint8]) -> Features:
        """Features of a picture, RGB uint8 [size, size, 3], as `get_image_features`."""
        pixels_13ss = image_tensor(picture_hwc, self.input).to(self._image_pos_1chw.device)
        out = self.module.get_image_features(pixels_13ss, return_dict=True)
        sizes = self.module.backbone_feature_sizes
        *finer, top = (
            level_q1c.permute(1, 2, 0).unflatten(2, tuple(size)).contiguous()
            for level_q1c, size in zip(out.fpn_hidden_states, sizes, strict=True)
        )
        dtype = compute_dtype(top)
        pos_1chw = out.fpn_position_encoding[-1].permute(1, 2, 0).unflatten(2, top.shape[-2:])
        return Features(
            top_1chw=top.to(dtype),
            pos_1chw=self._top_pos.setdefault(dtype, pos_1chw.to(dtype)),
            high_res=tuple(level.to(dtype) for level in finer),
        )

    def condition(self, features: Features, memories: Sequence[Memories]) -> Tensor:
        """Features as the memories of n objects see them, [n, c, h, w].

        Follows `_prepare_memory_conditioned_features`, for a video of unknown length.
        """
        if not memories:
            nothing_1c11: Tensor = self.module.no_memory_embedding.view(1, -1, 1, 1)
            return features.top_1chw + nothing_1c11
        conditioned_nqc = torch.cat([self._attend(features, group) for group in memories])
        return conditioned_nqc.transpose(1, 2).reshape(-1, self.module.hidden_dim, *self.grid)

    def _attend(self, features: Features, memories: Memories) -> Tensor:
        """What a group of objects, which remember as much as each other, sees, [n, q, c]."""
        dtype = compute_dtype(features.top_1chw)
        n, k, _, _ = memories.maps_nkqm.shape
        pointers_nlm, pointer_pos_nlm = self._pointer_tokens(memories)
        time_nk1m = self.module.memory_temporal_positional_encoding[memories.age_index_nk]
        map_pos_nkqm = time_nk1m.flatten(2).unsqueeze(2) + self._map_pos_1qm[:, None]
        maps_nlm = memories.maps_nkqm.flatten(1, 2)
        tokens_nlm = torch.cat([maps_nlm.to(dtype), pointers_nlm.to(dtype)], dim=1)
        pos_nlm = torch.cat([map_pos_nkqm.flatten(1, 2), pointer_pos_nlm], dim=1)
        conditioned_1nqc = self.module.memory_attention(
            current_vision_features=_tokens_first(features.top_1chw).expand(-1, n, -1),
            current_vision_position_embeddings=_tokens_first(features.pos_1chw),
            memory=tokens_nlm.transpose(0, 1),
            memory_posision_embeddings=pos_nlm.to(dtype).transpose(0, 1),
            num_object_pointer_tokens=pointers_nlm.shape[1],
            **self.attention_options(maps=k),
        )
        conditioned_nqc: Tensor = conditioned_1nqc[0]
        return conditioned_nqc

    def attention_options(self, *, maps: int) -> dict[str, Any]:
        """Further arguments of the memory attention, for so many maps of each object."""
        return {}

    def map_positions(self) -> Tensor:
        """Positions in space of a memory map's tokens, [1, q, m]."""
        module, device = self.module, self._image_pos_1chw.device
        shape = torch.Size((1, module.mem_dim, *self.grid))
        pos_1mhw: Tensor = module.memory_encoder.position_encoding(shape, device, torch.float32)
        return pos_1mhw.flatten(2).transpose(1, 2)

    def _pointer_tokens(self, memories: Memories) -> tuple[Tensor, Tensor]:
        """Object pointers and their ages as tokens of m channels; a pointer is c / m of them."""
        module, (n, p, c) = self.module, memories.pointers_npc.shape
        split = c // module.mem_dim
        tokens_nlm = memories.pointers_npc.reshape(n, p * split, module.mem_dim)
        if not module.config.enable_temporal_pos_encoding_for_object_pointers:
            return tokens_nlm, torch.zeros_like(tokens_nlm)
        oldest = module.config.max_object_pointers_in_encoder - 1
        age_npc = get_1d_sine_pe(memories.pointer_age_np / oldest, dim=c)
        age_npm = module.temporal_positional_encoding_projection_layer(age_npc)
        return tokens_nlm, age_npm.repeat_interleave(split, dim=1)

    def decode_candidates(
        self,
        features: Features,
        conditioned_nchw: Tensor,
        *,
        first: bool,
        clicks: Clicks | None,
        previous_n1ss: Tensor | None,
        shows_masks: bool,
    ) -> Candidates:
        """All candidates of the mask decoder; each object is an image of one prompt to it."""
        n = len(conditioned_nchw)
        many = self._wants_three_masks(first, 0 if clicks is None else clicks.labels_nk.shape[1])
        if clicks is None:
            clicks = Clicks(
                coords_nk2=conditioned_nchw.new_zeros(n, 1, 2, dtype=torch.float32),
                labels_nk=conditioned_nchw.new_full((n, 1), NO_CLICK, dtype=torch.int32),
            )
        if previous_n1ss is not None:
            previous_n1ss = previous_n1ss.clamp(-PREVIOUS_LOGITS_LIMIT, PREVIOUS_LOGITS_LIMIT)
        sparse_n1kc, dense_nchw = self.module.prompt_encoder(
            input_points=clicks.coords_nk2.unsqueeze(1),
            input_labels=clicks.labels_nk.unsqueeze(1),
            input_boxes=None,
            input_masks=previous_n1ss,
        )
        logits_n1ass, iou_n1a, tokens_n1ac, presence_n11 = self.module.mask_decoder(
            image_embeddings=conditioned_nchw,
            image_positional_embeddings=self._image_pos_1chw.expand(n, -1, -1, -1),
            sparse_prompt_embeddings=sparse_n1kc,
            dense_prompt_embeddings=dense_nchw,
            multimask_output=many,
            high_resolution_features=list(features.high_res),
        )
        return Candidates(logits_n1ass[:, 0], iou_n1a[:, 0], tokens_n1ac[:, 0], presence_n11[:, 0])

    def _wants_three_masks(self, first: bool, clicks: int) -> bool:
        """True if the decoder chooses among three masks, as `_use_multimask`."""
        config = self.module.config
        return bool(
            config.multimask_output_in_sam
            and (first or config.multimask_output_for_tracking)
            and config.multimask_min_pt_num <= clicks <= config.multimask_max_pt_num
        )

    def _pointers(self, tokens_nc: Tensor, presence_n1: Tensor) -> Tensor:
        """Object pointers of output tokens; that of an absent object is the learned one."""
        pointers_nc: Tensor = self.module.object_pointer_proj(tokens_nc)
        return torch.where(presence_n1 > 0, pointers_nc, self.module.no_object_pointer)

    def adopt_mask(self, features: Features, mask_11ss: Tensor) -> Decoded:
        """A given mask as the output, as `_use_mask_as_output`."""
        out = self.module._use_mask_as_output(
            features.top_1chw, list(features.high_res), mask_11ss.to(features.top_1chw.dtype)
        )
        return Decoded(
            logits_n1ss=out.pred_masks.float(),
            presence_n1=out.object_score_logits.reshape(1, 1).float(),
            iou_n=out.iou_scores.reshape(1).float(),
            pointers_nc=out.object_pointer.reshape(1, -1).float(),
        )

    def encode_memory(self, features: Features, decoded: Decoded, *, from_prompt: bool) -> Tensor:
        """Memory maps [n, q, m] of n objects, as `_encode_new_memory`."""
        module, logits_n1ss = self.module, self.memory_logits(decoded.logits_n1ss)
        mask_n1ss = (logits_n1ss > 0).float() if from_prompt else logits_n1ss.sigmoid()
        mask_n1ss = mask_n1ss * module.config.sigmoid_scale_for_mem_enc
        mask_n1ss += module.config.sigmoid_bias_for_mem_enc
        maps_nmhw, _ = module.memory_encoder(features.top_1chw, mask_n1ss)
        absent_1m = module.occlusion_spatial_embedding_parameter
        if absent_1m is not None:
            absent_n111 = (decoded.presence_n1 <= 0).to(maps_nmhw.dtype)[..., None, None]
            maps_nmhw = maps_nmhw + absent_n111 * absent_1m[..., None, None]
        return self.map_tokens(maps_nmhw)

    def memory_logits(self, logits_n1ss: Tensor) -> Tensor:
        """Logits at the resolution that the memory encoder takes: the input's."""
        size = (self.input.size, self.input.size)
        return F.interpolate(logits_n1ss, size, mode="bilinear", align_corners=False)

    def map_tokens(self, maps_nmhw: Tensor) -> Tensor:
        """Tokens [n, q, m] that a memory keeps of maps."""
        return maps_nmhw.flatten(2).transpose(1, 2)

    def resized(self, size: int) -> Self:
        """Not to be had: the weights belong to one size."""
        raise NotImplementedError

    def with_whole_memories(self) -> Self:
        """Itself: memories keep every token."""
        return self


def _tokens_first(map_1chw: Tensor) -> Tensor:
    """A map as tokens [q, 1, c]."""
    return map_1chw.flatten(2).permute(2, 0, 1)
