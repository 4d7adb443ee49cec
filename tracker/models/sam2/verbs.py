"""SAM 2 in four verbs, each a pure function: encode, condition, decode, memorise.

They use the modules of the `sam2` package and follow the methods of its `SAM2Base`; what they
leave out is the state, which is the memory bank's. Shapes: n objects, c channels of the features,
m channels of a memory, h and w the feature map (input / 16), q the tokens of a memory (h * w, or
fewer where the network pools them), s the low-resolution mask (input / 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor

from tracker.models.optim.dtype_cache import DerivedCache, compute_dtype
from tracker.models.optim.mask_decoder import TokenMaskDecoder
from tracker.models.optim.memory_encoder import FastMemoryEncoder
from tracker.models.pico.memory_stride import memory_pool
from tracker.models.sam2.attention import Memory, attend_to_memory
from tracker.models.sam2.distractors import find_distractors

PREVIOUS_LOGITS_LIMIT = 32.0
SURELY_THERE = 3.0  # object score logit, a score of 0.95


@dataclass(frozen=True, slots=True)
class Features:
    """One encoded image.

    Attributes:
        top_1chw: Features at stride 16.
        pos_1chw: Their positional encoding.
        high_res: Features at stride 4 and 8, [1, c/8, 4h, 4w] and [1, c/4, 2h, 2w].
    """

    top_1chw: Tensor
    pos_1chw: Tensor
    high_res: tuple[Tensor, Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes that are this image's own; the positional encoding is the same for all."""
        return self.top_1chw.nbytes + sum(level.nbytes for level in self.high_res)


@dataclass(frozen=True, slots=True)
class Memories:
    """What n objects remember, all with as many maps and pointers as each other.

    Attributes:
        maps_nkqm: k maps of q tokens each.
        age_index_nk: int64, row of `maskmem_tpos_enc` for each map.
        pointers_npc: p object pointers.
        pointer_age_np: float32, how many frames ago each pointer was made.
    """

    maps_nkqm: Tensor
    age_index_nk: Tensor
    pointers_npc: Tensor
    pointer_age_np: Tensor


@dataclass(frozen=True, slots=True)
class Clicks:
    """Points of n objects in input pixels: [n, k, 2] float32, labels [n, k] int32.

    Labels: 1 object, 0 not, 2 and 3 the first and second corner of a box.
    """

    coords_nk2: Tensor
    labels_nk: Tensor


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the mask decoder says of n objects.

    Attributes:
        logits_n1ss: Mask logits at low resolution, float32; NO_OBJ_SCORE where absent.
        presence_n1: Object score logits; above 0 the object is on the frame.
        iou_n: Predicted quality of the mask, 0..1.
        pointers_nc: Object pointers.
        distractor_n: Whether something else looks like the object; None where nobody asked.
    """

    logits_n1ss: Tensor
    presence_n1: Tensor
    iou_n: Tensor
    pointers_nc: Tensor
    distractor_n: Tensor | None = None

    def row(self, i: int) -> "Decoded":
        """The i-th object alone."""
        one = slice(i, i + 1)
        return Decoded(
            self.logits_n1ss[one],
            self.presence_n1[one],
            self.iou_n[one],
            self.pointers_nc[one],
            None if self.distractor_n is None else self.distractor_n[one],
        )

    def areas(self) -> list[int]:
        """Low-resolution pixels of each mask; 0 where the object is absent."""
        areas: list[int] = (self.logits_n1ss > 0).sum(dim=(1, 2, 3)).tolist()
        return areas


@dataclass(frozen=True, slots=True)
class Candidates:
    """All that the mask decoder proposes for n objects, of which one mask each is taken.

    Attributes:
        logits_nass: Masks at low resolution, as if the object were there.
        iou_na: Their predicted quality, 0..1.
        tokens_nac: Output tokens of the masks, or of the one that is decoded alone.
        presence_n1: Object score logits.
    """

    logits_nass: Tensor
    iou_na: Tensor
    tokens_nac: Tensor
    presence_n1: Tensor


def encode_image(net: SAM2Base, image_13ss: Tensor) -> Features:
    """Encode an image [1, 3, size, size], as `SAM2Base.forward_image`.

    It is normalised, or uint8 for an encoder that is quantized.

    The features are contiguous whatever the encoder's layout, so that those of a snapshot, which
    has no layout, round alike.
    """
    out = net.forward_image(image_13ss)
    fine, middle, top = (level.contiguous() for level in out["backbone_fpn"][-3:])
    dtype = compute_dtype(top)
    return Features(
        top_1chw=top.to(dtype),
        pos_1chw=out["vision_pos_enc"][-1].to(dtype),
        high_res=(fine.to(dtype), middle.to(dtype)),
    )


def without_memory(net: SAM2Base, features: Features) -> Tensor:
    """Features [1, c, h, w] for an object's first frame: no memory is an embedding too."""
    nothing_11c: Tensor = net.no_mem_embed
    return features.top_1chw + nothing_11c.view(1, -1, 1, 1)


def condition(net: SAM2Base, features: Features, memories: Sequence[Memories]) -> Tensor:
    """Features of the image as each object's memory sees them, [n, c, h, w].

    Follows `SAM2Base._prepare_memory_conditioned_features`. Live video has no known length, so
    pointer ages are scaled as in a video of at least `max_obj_ptrs_in_encoder` frames, where the
    official code takes the length of a shorter one.

    Args:
        net: The network.
        features: The image.
        memories: Those of groups of objects, n in all; what does not depend on them is computed
            once for all groups.
    """
    conditioned_nqc = attend_to_memory(
        net.memory_attention,
        features.top_1chw.flatten(2).transpose(1, 2).contiguous(),
        features.pos_1chw.flatten(2).transpose(1, 2).contiguous(),
        [_memory_tokens(net, features, group) for group in memories],
    )
    h, w = features.top_1chw.shape[-2:]
    return conditioned_nqc.transpose(1, 2).reshape(-1, net.hidden_dim, h, w)


def _memory_tokens(net: SAM2Base, features: Features, memories: Memories) -> Memory:
    """What a group of objects attends to: maps, then pointers."""
    dtype = compute_dtype(features.top_1chw)
    pointers_nqm, pointer_pos_nqm = _pointer_tokens(net, memories)
    map_pos_nqm = _map_positions(net, features, memories.age_index_nk).flatten(1, 2)
    maps_nqm = memories.maps_nkqm.flatten(1, 2)
    return Memory(
        torch.cat([maps_nqm.to(dtype), pointers_nqm.to(dtype)], dim=1),
        torch.cat([map_pos_nqm.to(dtype), pointer_pos_nqm.to(dtype)], dim=1),
        map_tokens=memories.maps_nkqm.shape[2],
        pointer_tokens=pointers_nqm.shape[1],
    )


def _map_positions(net: SAM2Base, features: Features, age_index_nk: Tensor) -> Tensor:
    """Where and when each token of the memory maps is, [n, k, q, m]."""
    h, w = features.top_1chw.shape[-2:]
    like_1mhw = features.top_1chw.new_empty(1, net.mem_dim, h, w)
    space_1qm = _tokens(net, net.memory_encoder.position_encoding(like_1mhw))
    time_nk1m = net.maskmem_tpos_enc[age_index_nk].flatten(2).unsqueeze(2)
    positions_nkqm: Tensor = time_nk1m + space_1qm[:, None]
    return positions_nkqm


def _pointer_tokens(net: SAM2Base, memories: Memories) -> tuple[Tensor, Tensor]:
    """Object pointers and their ages as tokens of m channels: a pointer becomes c / m of them."""
    n, p, c = memories.pointers_npc.shape
    split = c // net.mem_dim
    tokens_nqm = memories.pointers_npc.reshape(n, p * split, net.mem_dim)
    if not net.add_tpos_enc_to_obj_ptrs:
        return tokens_nqm, torch.zeros_like(tokens_nqm)
    oldest = net.max_obj_ptrs_in_encoder - 1
    dim = net.hidden_dim if net.proj_tpos_enc_in_obj_ptrs else net.mem_dim
    age_npc = get_1d_sine_pe(memories.pointer_age_np / oldest, dim=dim)
    age_npm = net.obj_ptr_tpos_proj(age_npc).to(tokens_nqm.dtype)
    return tokens_nqm, age_npm.repeat_interleave(split, dim=1)


def wants_three_masks(net: SAM2Base, *, first: bool, clicks: int) -> bool:
    """Whether the decoder chooses among three masks, as `SAM2Base._use_multimask`."""
    return bool(
        net.multimask_output_in_sam
        and (first or net.multimask_output_for_tracking)
        and net.multimask_min_pt_num <= clicks <= net.multimask_max_pt_num
    )


def decode(
    net: SAM2Base,
    features: Features,
    conditioned_nchw: Tensor,
    *,
    three_masks: bool,
    clicks: Clicks | None = None,
    previous_n1ss: Tensor | None = None,
    finely: bool = False,
    want_distractors: bool = False,
    is_there: bool = False,
) -> Decoded:
    """Decode masks of n objects from clicks, or from memory alone.

    Follows `SAM2Base._forward_sam_heads`, less the upsampling of masks that are not chosen.

    Args:
        net: The network.
        features: The image; its high-resolution maps sharpen the mask.
        conditioned_nchw: Its features as each object sees them.
        three_masks: Choose the best of three candidates by predicted quality.
        clicks: Points and box corners; None to decode from memory.
        previous_n1ss: Logits to correct, or to go on from.
        finely: Show them to the finest features too, of a network that was trained so.
        want_distractors: Look for distractors too.
        is_there: The objects are known to be on the image.
    """
    candidates = decode_candidates(
        net,
        features,
        conditioned_nchw,
        three_masks=three_masks,
        clicks=clicks,
        previous_n1ss=previous_n1ss,
        finely=finely,
    )
    if is_there:
        presence_n1 = candidates.presence_n1.clamp(min=SURELY_THERE)
        candidates = replace(candidates, presence_n1=presence_n1)
    decoded = select_mask(net, candidates)
    if not want_distractors:
        return decoded
    return replace(
        decoded, distractor_n=find_distractors(candidates.logits_nass, candidates.iou_na)
    )


def decode_candidates(
    net: SAM2Base,
    features: Features,
    conditioned_nchw: Tensor,
    *,
    three_masks: bool,
    clicks: Clicks | None,
    previous_n1ss: Tensor | None,
    finely: bool,
) -> Candidates:
    """All candidates of the mask decoder; the first half of `decode`, with its arguments."""
    n = conditioned_nchw.shape[0]
    if clicks is None:
        clicks = Clicks(
            coords_nk2=conditioned_nchw.new_zeros(n, 1, 2, dtype=torch.float32),
            labels_nk=conditioned_nchw.new_full((n, 1), -1, dtype=torch.int32),
        )
    if previous_n1ss is not None:
        previous_n1ss = previous_n1ss.clamp(-PREVIOUS_LOGITS_LIMIT, PREVIOUS_LOGITS_LIMIT)
    high_res = list(features.high_res)
    if finely and previous_n1ss is not None:
        high_res = _with_fine_prompts(net, high_res, previous_n1ss)
    sparse_nkc, dense_nchw = net.sam_prompt_encoder(
        points=(clicks.coords_nk2, clicks.labels_nk), boxes=None, masks=previous_n1ss
    )
    logits_nass, iou_na, tokens_nac, presence_n1 = net.sam_mask_decoder(
        image_embeddings=conditioned_nchw,
        image_pe=_dense_positions(net),
        sparse_prompt_embeddings=sparse_nkc,
        dense_prompt_embeddings=dense_nchw,
        multimask_output=three_masks,
        repeat_image=False,
        high_res_features=high_res,
    )
    return Candidates(logits_nass, iou_na, tokens_nac, presence_n1)


def _with_fine_prompts(net: SAM2Base, high_res: list[Tensor], masks_n1ss: Tensor) -> list[Tensor]:
    """High-resolution features that know of masks; or both, where the decoder adds them."""
    if isinstance(net.sam_mask_decoder, TokenMaskDecoder):
        return [*high_res, masks_n1ss]
    fine, middle = high_res
    return [fine + net.fine_prompts(masks_n1ss), middle]


def _dense_positions(net: SAM2Base) -> Tensor:
    """Positions of the image for the mask decoder [1, c, h, w], kept for each size."""
    prompts = net.sam_prompt_encoder
    kept: DerivedCache[Tensor] = prompts.__dict__.setdefault("_dense_positions", DerivedCache())
    key = (prompts.image_embedding_size, net.no_mem_embed.device)
    if key not in kept:
        kept[key] = prompts.get_dense_pe()
    return kept[key]


def select_mask(net: SAM2Base, candidates: Candidates) -> Decoded:
    """The best candidates by predicted quality, nothing where the object is absent."""
    iou_na, tokens_nac = candidates.iou_na, candidates.tokens_nac
    presence_n1 = candidates.presence_n1
    row_n = torch.arange(len(iou_na), device=iou_na.device)
    best_n = iou_na.argmax(dim=-1)
    best_token_n = best_n.clamp(max=tokens_nac.shape[1] - 1)
    logits_n1ss = candidates.logits_nass[row_n, best_n].unsqueeze(1).float()
    pointers_nc = net.obj_ptr_proj(tokens_nac[row_n, best_token_n])
    if net.pred_obj_scores:
        present_n1 = presence_n1 > 0
        logits_n1ss = torch.where(present_n1[..., None, None], logits_n1ss, NO_OBJ_SCORE)
        pointers_nc = _pointer_of_absent(net, pointers_nc, presence_n1, present_n1)
    return Decoded(
        logits_n1ss=logits_n1ss,
        presence_n1=presence_n1.float(),
        iou_n=iou_na[row_n, best_n].float(),
        pointers_nc=pointers_nc.float(),
    )


def _pointer_of_absent(
    net: SAM2Base, pointers_nc: Tensor, presence_n1: Tensor, present_n1: Tensor
) -> Tensor:
    """Replace or mix the pointer of an absent object with the learned one."""
    there_n1 = presence_n1.sigmoid() if net.soft_no_obj_ptr else present_n1.to(pointers_nc.dtype)
    if net.fixed_no_obj_ptr:
        pointers_nc = there_n1 * pointers_nc
    absent_1c: Tensor = net.no_obj_ptr
    return pointers_nc + (1 - there_n1) * absent_1c


def adopt_mask(net: SAM2Base, features: Features, mask_11ss: Tensor) -> Decoded:
    """Take a given mask as the output, as `SAM2Base._use_mask_as_output`.

    Args:
        net: The network.
        features: The image.
        mask_11ss: float32 0 or 1 at input resolution, [1, 1, size, size].
    """
    _, _, iou_11, logits_11ss, _, pointer_1c, presence_11 = net._use_mask_as_output(
        features.top_1chw, list(features.high_res), mask_11ss
    )
    return Decoded(
        logits_n1ss=logits_11ss.float(),
        presence_n1=presence_11.float(),
        iou_n=iou_11[:, 0].float(),
        pointers_nc=pointer_1c.float(),
    )


def memorise(net: SAM2Base, features: Features, decoded: Decoded, *, from_prompt: bool) -> Tensor:
    """Encode what was seen of n objects into memory maps, [n, q, m].

    Follows `SAM2Base._encode_new_memory`; the image is projected once for all objects.

    Args:
        net: The network.
        features: The image.
        decoded: Its masks.
        from_prompt: The mask was prompted: with `binarize_mask_from_pts_for_mem_enc` the memory
            holds exactly what the user saw.
    """
    binary = from_prompt and net.binarize_mask_from_pts_for_mem_enc
    if isinstance(net.memory_encoder, FastMemoryEncoder):
        tokens_nqm = net.memory_encoder(
            features.top_1chw, decoded.logits_n1ss, binary=binary, pool=memory_pool(net)
        )
        return _marked(net, tokens_nqm, decoded.presence_n1)
    size = (net.image_size, net.image_size)
    logits_n1ss = F.interpolate(decoded.logits_n1ss, size, mode="bilinear", align_corners=False)
    mask_n1ss = (logits_n1ss > 0).float() if binary else logits_n1ss.sigmoid_()
    mask_n1ss.mul_(net.sigmoid_scale_for_mem_enc).add_(net.sigmoid_bias_for_mem_enc)
    return encode_memory(net, features, mask_n1ss, decoded.presence_n1)


def encode_memory(
    net: SAM2Base, features: Features, mask_n1ss: Tensor, presence_n1: Tensor
) -> Tensor:
    """Memory maps [n, q, m] of scaled masks at input resolution; the last half of `memorise`."""
    encoder = net.memory_encoder
    seen_nchw = encoder.pix_feat_proj(features.top_1chw) + encoder.mask_downsampler(mask_n1ss)
    maps_nmhw: Tensor = encoder.out_proj(encoder.fuser(seen_nchw))
    return _marked(net, _tokens(net, maps_nmhw), presence_n1)


def _marked(net: SAM2Base, tokens_nqm: Tensor, presence_n1: Tensor) -> Tensor:
    """Memories with those of absent objects marked as such, all tokens alike."""
    if net.no_obj_embed_spatial is None:
        return tokens_nqm
    absent_n11 = (presence_n1 <= 0).to(tokens_nqm.dtype)[..., None]
    marked_nqm: Tensor = tokens_nqm + absent_n11 * net.no_obj_embed_spatial
    return marked_nqm


def _tokens(net: SAM2Base, maps_nmhw: Tensor) -> Tensor:
    """Maps as the tokens that a memory keeps of them, [n, q, m]."""
    pool = memory_pool(net)
    pooled_nmhw = maps_nmhw if pool == 1 else F.avg_pool2d(maps_nmhw, pool)
    return pooled_nmhw.flatten(2).transpose(1, 2)
