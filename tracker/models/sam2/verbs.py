"""SAM 2 as pure functions of an image and memories: encode, condition, decode, encode memory.

They use the modules of the `sam2` package and follow the methods of its `SAM2Base`; what they
leave out is the state, which is the memory bank's. Shapes as in `tracker.models.base`, of which h
and w are a sixteenth of the input's side, s a quarter, and q is h * w, or fewer where the network
pools memories.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor

from tracker.models.base import Candidates, Clicks, Decoded, Features, Memories
from tracker.models.candidates import CandidateDecoder, select_mask
from tracker.models.optim.dtype_cache import compute_dtype
from tracker.models.optim.mask_decoder import TokenMaskDecoder
from tracker.models.optim.memory_encoder import FastMemoryEncoder
from tracker.models.sam2.attention import Memory, attend_to_memory
from tracker.models.sam2.derived import Derived
from tracker.models.sam2.extensions import has_fine_prompts, memory_stride

PREVIOUS_LOGITS_LIMIT = 32.0


class Sam2Network(CandidateDecoder):
    """A `SAM2Base` and what is derived of its weights.

    Attributes:
        module: In eval mode without gradients, or a network that is trained.
    """

    def __init__(self, module: SAM2Base) -> None:
        self.module = module
        self._derived = Derived()

    def encode_pixels(self, image_13ss: Tensor) -> Features:
        """Encode an image [1, 3, size, size], as `SAM2Base.forward_image`.

        It is normalised, or uint8 for an encoder that is quantized. The features are contiguous
        whatever the encoder's layout, so that those of a snapshot, which has no layout, round
        alike.
        """
        out = self.module.forward_image(image_13ss)
        *finer, top = (level.contiguous() for level in out["backbone_fpn"][-3:])
        dtype = compute_dtype(top)
        return Features(
            top_1chw=top.to(dtype),
            pos_1chw=self._top_positions(out["vision_pos_enc"][-1].to(dtype)),
            high_res=tuple(level.to(dtype) for level in finer),
        )

    def _top_positions(self, pos_1chw: Tensor) -> Tensor:
        """The same positions for all images of a size, so that a history holds them once."""
        key = (self.module.image_encoder, pos_1chw.shape, pos_1chw.dtype, pos_1chw.device)
        return self._derived.top_positions.setdefault(key, pos_1chw)

    def condition(self, features: Features, memories: Sequence[Memories]) -> Tensor:
        """Features of the image as each object's memory sees them, [n, c, h, w].

        Follows `SAM2Base._prepare_memory_conditioned_features`. Live video has no known length, so
        pointer ages are scaled as in a video of at least `max_obj_ptrs_in_encoder` frames, where
        the official code takes the length of a shorter one.

        Args:
            features: The image.
            memories: Those of groups of objects, n in all; what does not depend on them is computed
                once for all groups. None stands for an object's first frame, for which there is an
                embedding too.
        """
        if not memories:
            nothing_11c: Tensor = self.module.no_mem_embed
            return features.top_1chw + nothing_11c.view(1, -1, 1, 1)
        conditioned_nqc = attend_to_memory(
            self.module.memory_attention,
            features.top_1chw.flatten(2).transpose(1, 2).contiguous(),
            features.pos_1chw.flatten(2).transpose(1, 2).contiguous(),
            [self._memory_tokens(features, group) for group in memories],
            self._derived,
        )
        h, w = features.top_1chw.shape[-2:]
        return conditioned_nqc.transpose(1, 2).reshape(-1, self.module.hidden_dim, h, w)

    def _memory_tokens(self, features: Features, memories: Memories) -> Memory:
        """Memory tokens of a group of objects: maps, then pointers."""
        dtype = compute_dtype(features.top_1chw)
        pointers_nqm, pointer_pos_nqm = self._pointer_tokens(memories)
        map_pos_nqm = self._map_positions(features, memories.age_index_nk).flatten(1, 2)
        maps_nqm = memories.maps_nkqm.flatten(1, 2)
        return Memory(
            torch.cat([maps_nqm.to(dtype), pointers_nqm.to(dtype)], dim=1),
            torch.cat([map_pos_nqm.to(dtype), pointer_pos_nqm.to(dtype)], dim=1),
            map_tokens=memories.maps_nkqm.shape[2],
            pointer_tokens=pointers_nqm.shape[1],
        )

    def _map_positions(self, features: Features, age_index_nk: Tensor) -> Tensor:
        """Positions in space and time of the memory maps' tokens, [n, k, q, m]."""
        h, w = features.top_1chw.shape[-2:]
        like_1mhw = features.top_1chw.new_empty(1, self.module.mem_dim, h, w)
        space_1qm = _tokens(self.module, self.module.memory_encoder.position_encoding(like_1mhw))
        time_nk1m = self.module.maskmem_tpos_enc[age_index_nk].flatten(2).unsqueeze(2)
        positions_nkqm: Tensor = time_nk1m + space_1qm[:, None]
        return positions_nkqm

    def _pointer_tokens(self, memories: Memories) -> tuple[Tensor, Tensor]:
        """Object pointers and their ages as tokens of m channels; a pointer is c / m of them."""
        module, (n, p, c) = self.module, memories.pointers_npc.shape
        split = c // module.mem_dim
        tokens_nqm = memories.pointers_npc.reshape(n, p * split, module.mem_dim)
        if not module.add_tpos_enc_to_obj_ptrs:
            return tokens_nqm, torch.zeros_like(tokens_nqm)
        oldest = module.max_obj_ptrs_in_encoder - 1
        dim = module.hidden_dim if module.proj_tpos_enc_in_obj_ptrs else module.mem_dim
        age_npc = get_1d_sine_pe(memories.pointer_age_np / oldest, dim=dim)
        age_npm = module.obj_ptr_tpos_proj(age_npc).to(tokens_nqm.dtype)
        return tokens_nqm, age_npm.repeat_interleave(split, dim=1)

    def _wants_three_masks(self, *, first: bool, clicks: int) -> bool:
        """True if the decoder chooses among three masks, as `SAM2Base._use_multimask`."""
        return bool(
            self.module.multimask_output_in_sam
            and (first or self.module.multimask_output_for_tracking)
            and self.module.multimask_min_pt_num <= clicks <= self.module.multimask_max_pt_num
        )

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
        """All candidates of the mask decoder; the first half of `decode`, with its arguments."""
        n = conditioned_nchw.shape[0]
        three_masks = self._wants_three_masks(
            first=first, clicks=0 if clicks is None else clicks.labels_nk.shape[1]
        )
        if clicks is None:
            clicks = Clicks(
                coords_nk2=conditioned_nchw.new_zeros(n, 1, 2, dtype=torch.float32),
                labels_nk=conditioned_nchw.new_full((n, 1), -1, dtype=torch.int32),
            )
        if previous_n1ss is not None:
            previous_n1ss = previous_n1ss.clamp(-PREVIOUS_LOGITS_LIMIT, PREVIOUS_LOGITS_LIMIT)
        high_res = list(features.high_res)
        if shows_masks and previous_n1ss is not None and has_fine_prompts(self.module):
            high_res = self._with_fine_prompts(high_res, previous_n1ss)
        sparse_nkc, dense_nchw = self.module.sam_prompt_encoder(
            points=(clicks.coords_nk2, clicks.labels_nk), boxes=None, masks=previous_n1ss
        )
        logits_nass, iou_na, tokens_nac, presence_n1 = self.module.sam_mask_decoder(
            image_embeddings=conditioned_nchw,
            image_pe=self._image_positions(),
            sparse_prompt_embeddings=sparse_nkc,
            dense_prompt_embeddings=dense_nchw,
            multimask_output=three_masks,
            repeat_image=False,
            high_res_features=high_res,
        )
        return Candidates(logits_nass, iou_na, tokens_nac, presence_n1)

    def _with_fine_prompts(self, high_res: list[Tensor], masks_n1ss: Tensor) -> list[Tensor]:
        """High-resolution features that know of masks; or both, where the decoder adds them."""
        if isinstance(self.module.sam_mask_decoder, TokenMaskDecoder):
            return [*high_res, masks_n1ss]
        fine, middle = high_res
        return [fine + self.module.fine_prompts(masks_n1ss), middle]

    def _image_positions(self) -> Tensor:
        """Positions of the image for the mask decoder [1, c, h, w], kept for each size."""
        prompts, kept = self.module.sam_prompt_encoder, self._derived.image_positions
        key = (prompts, prompts.image_embedding_size, self.module.no_mem_embed.device)
        if key not in kept:
            kept[key] = prompts.get_dense_pe()
        return kept[key]

    def select_mask(self, candidates: Candidates) -> Decoded:
        """The best candidates by predicted quality; the second half of `decode`."""
        return select_mask(candidates, self._pointers)

    def _pointers(self, tokens_nc: Tensor, presence_n1: Tensor) -> Tensor:
        """Object pointers of output tokens; those of absent objects are learned ones."""
        pointers_nc: Tensor = self.module.obj_ptr_proj(tokens_nc)
        if not self.module.pred_obj_scores:
            return pointers_nc
        return _pointer_of_absent(self.module, pointers_nc, presence_n1, presence_n1 > 0)

    def adopt_mask(self, features: Features, mask_11ss: Tensor) -> Decoded:
        """Take a given mask as the output, as `SAM2Base._use_mask_as_output`.

        Args:
            features: The image.
            mask_11ss: float32 0 or 1 at input resolution, [1, 1, size, size].
        """
        _, _, iou_11, logits_11ss, _, pointer_1c, presence_11 = self.module._use_mask_as_output(
            features.top_1chw, list(features.high_res), mask_11ss
        )
        return Decoded(
            logits_n1ss=logits_11ss.float(),
            presence_n1=presence_11.float(),
            iou_n=iou_11[:, 0].float(),
            pointers_nc=pointer_1c.float(),
        )

    def encode_memory(self, features: Features, decoded: Decoded, *, from_prompt: bool) -> Tensor:
        """Memory maps [n, q, m] of what was seen of n objects.

        Follows `SAM2Base._encode_new_memory`; the image is projected once for all objects.

        Args:
            features: The image.
            decoded: Its masks.
            from_prompt: The mask was prompted: with `binarize_mask_from_pts_for_mem_enc` the memory
                holds exactly what the user saw.
        """
        module, stride = self.module, memory_stride(self.module)
        binary = from_prompt and module.binarize_mask_from_pts_for_mem_enc
        if isinstance(module.memory_encoder, FastMemoryEncoder):
            tokens_nqm = module.memory_encoder(
                features.top_1chw, decoded.logits_n1ss, binary=binary, pool=stride
            )
            return _marked(module, tokens_nqm, decoded.presence_n1)
        size = (module.image_size, module.image_size)
        logits_n1ss = F.interpolate(decoded.logits_n1ss, size, mode="bilinear", align_corners=False)
        mask_n1ss = (logits_n1ss > 0).float() if binary else logits_n1ss.sigmoid_()
        mask_n1ss.mul_(module.sigmoid_scale_for_mem_enc).add_(module.sigmoid_bias_for_mem_enc)
        return self.encode_masks(features, mask_n1ss, decoded.presence_n1)

    def encode_masks(self, features: Features, mask_n1ss: Tensor, presence_n1: Tensor) -> Tensor:
        """Memory maps [n, q, m] of masks at input resolution, scaled as in `encode_memory`."""
        encoder = self.module.memory_encoder
        seen_nchw = encoder.pix_feat_proj(features.top_1chw) + encoder.mask_downsampler(mask_n1ss)
        maps_nmhw: Tensor = encoder.out_proj(encoder.fuser(seen_nchw))
        return _marked(self.module, _tokens(self.module, maps_nmhw), presence_n1)


def _pointer_of_absent(
    module: SAM2Base, pointers_nc: Tensor, presence_n1: Tensor, present_n1: Tensor
) -> Tensor:
    """Replace or mix the pointer of an absent object with the learned one."""
    there_n1 = presence_n1.sigmoid() if module.soft_no_obj_ptr else present_n1.to(pointers_nc.dtype)
    if module.fixed_no_obj_ptr:
        pointers_nc = there_n1 * pointers_nc
    absent_1c: Tensor = module.no_obj_ptr
    return pointers_nc + (1 - there_n1) * absent_1c


def _marked(module: SAM2Base, tokens_nqm: Tensor, presence_n1: Tensor) -> Tensor:
    """Memories with those of absent objects marked as such, all tokens alike."""
    if module.no_obj_embed_spatial is None:
        return tokens_nqm
    absent_n11 = (presence_n1 <= 0).to(tokens_nqm.dtype)[..., None]
    marked_nqm: Tensor = tokens_nqm + absent_n11 * module.no_obj_embed_spatial
    return marked_nqm


def _tokens(module: SAM2Base, maps_nmhw: Tensor) -> Tensor:
    """Maps as the tokens that a memory keeps of them, [n, q, m]."""
    stride = memory_stride(module)
    pooled_nmhw = maps_nmhw if stride == 1 else F.avg_pool2d(maps_nmhw, stride)
    return pooled_nmhw.flatten(2).transpose(1, 2)
