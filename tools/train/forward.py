"""Clips through the network, with gradients: what the engine does, for n objects at a time.

The engine's own functions condition on memories and adopt masks, so that ages, encodings and the
order of memories are those of tracking. What differs from `tracker.models.sam2.verbs`:
- all mask candidates are kept, since the best is trained, and as logits of an object that is
  there: marking an absent one would hide the mask from the loss;
- a prompted mask is remembered as the user saw it, 0 or 1, but gradients pass as if it were soft;
- holes are not filled, and memories are not rounded to bf16.
Shapes: i clips, n objects, T frames, a candidates, s the low-resolution mask (input / 4).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from tools.evaluate.prompting import PromptKind
from tools.train.config import Prompts
from tools.train.prompts import Plan, add_correction, first_clicks, spoil
from tracker.engine.masks import confine
from tracker.engine.prompt_raster import (
    carry_over,
    draws_prompts,
    follows_masks,
    shows_finely,
    sketch,
)
from tracker.models.sam2.verbs import (
    Clicks,
    Decoded,
    Features,
    Memories,
    adopt_mask,
    condition,
    decode_candidates,
    encode_memory,
    select_mask,
    wants_three_masks,
    without_memory,
)


@dataclass(frozen=True, slots=True)
class Guess:
    """What the network says of n objects on one frame of their clips.

    Attributes:
        frame: Number of the frame.
        logits_nass: Candidate masks, float32, as if the object were there.
        iou_na: Their predicted qualities.
        presence_n1: Object score logits.
        chosen_n: The candidate that tracking would take.
    """

    frame: int
    logits_nass: Tensor
    iou_na: Tensor
    presence_n1: Tensor
    chosen_n: Tensor


@dataclass(frozen=True, slots=True)
class _Memory:
    """What is remembered of one frame, and whether it was the one that was prompted first."""

    frame: int
    map_nqm: Tensor
    pointer_nc: Tensor


def forward_clips(
    net: SAM2Base,
    images_ti3ss: Tensor,
    masks_tn1ss: Tensor,
    plan: Plan,
    prompts: Prompts,
    random: np.random.Generator,
) -> list[Guess]:
    """Track n objects through T frames; one guess for each decoding, given masks left out.

    There are n / i objects on each of the i clips, side by side in what is of n objects.

    Args:
        net: The network.
        images_ti3ss: Normalised frames.
        masks_tn1ss: bool, true masks; none is empty on the first frame.
        plan: How the clips are prompted.
        prompts: How exact prompts are.
        random: Where prompts are drawn from.
    """
    frames, objects = len(images_ti3ss), masks_tn1ss.shape[1] // images_ti3ss.shape[1]
    guesses: list[Guess] = []
    memories: list[_Memory] = []
    for frame, features in enumerate(_encode(net, images_ti3ss, objects)):
        truth = masks_tn1ss[frame]
        if frame == 0:
            decoded, own = _first(net, features, truth, plan, prompts, random)
            prompted = True
        else:
            prompted = frame == plan.later_frame
            corrections = plan.later_corrections if prompted else 0
            carried = None
            if follows_masks(net):
                carried = carry_over([decoded], net.image_size, truth.device).detach()
                carried = spoil(carried, objects, prompts, random)
            conditioned = condition(net, features, [_recall(net, memories, frame)])
            decoded, own = _later(
                net, features, conditioned, frame, truth, carried, corrections, random
            )
        guesses += own
        if frame < frames - 1:
            map_nqm = _memorise(net, features, decoded, from_prompt=prompted)
            memories.append(_Memory(frame, map_nqm, decoded.pointers_nc))
    return guesses


def _encode(net: SAM2Base, images_ti3ss: Tensor, objects: int) -> list[Features]:
    """Features of each frame, all images in one pass, each as often as it has objects."""
    t, i = images_ti3ss.shape[:2]
    flat = images_ti3ss.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    out = net.forward_image(flat)
    levels = (level.contiguous().unflatten(0, (t, i)) for level in out["backbone_fpn"][-3:])
    fine, middle, top = (level.repeat_interleave(objects, dim=1).unbind() for level in levels)
    position = out["vision_pos_enc"][-1][:1]
    return [Features(top[i], position, (fine[i], middle[i])) for i in range(t)]


def _first(
    net: SAM2Base,
    features: Features,
    truth_n1ss: Tensor,
    plan: Plan,
    prompts: Prompts,
    random: np.random.Generator,
) -> tuple[Decoded, list[Guess]]:
    """The prompted frame: a mask is taken as it is, clicks are decoded and corrected."""
    if plan.kind is PromptKind.MASK:
        return adopt_mask(net, features, truth_n1ss.float()), []
    conditioned = without_memory(net, features)
    first = clicks = first_clicks(plan.kind, truth_n1ss, prompts, random)
    decoded, guess = _decode(net, features, conditioned, 0, clicks)
    guesses = [guess]
    for _ in range(plan.first_corrections):
        clicks = add_correction(clicks, decoded.logits_n1ss, truth_n1ss, random)
        before = decoded.logits_n1ss.detach()
        decoded, guess = _decode(net, features, conditioned, 0, clicks, before)
        guesses.append(guess)
    if plan.kind is PromptKind.BOX:
        decoded = _confined(decoded, first, net.image_size)
    return decoded, guesses


def _later(
    net: SAM2Base,
    features: Features,
    conditioned: Tensor,
    frame: int,
    truth_n1ss: Tensor,
    carried_n1ss: Tensor | None,
    corrections: int,
    random: np.random.Generator,
) -> tuple[Decoded, list[Guess]]:
    """A tracked frame, corrected by clicks or not."""
    decoded, guess = _decode(net, features, conditioned, frame, None, carried_n1ss)
    guesses, clicks = [guess], None
    for _ in range(corrections):
        clicks = add_correction(clicks, decoded.logits_n1ss, truth_n1ss, random)
        before = decoded.logits_n1ss.detach()
        decoded, guess = _decode(net, features, conditioned, frame, clicks, before)
        guesses.append(guess)
    return decoded, guesses


def _recall(net: SAM2Base, memories: list[_Memory], frame: int) -> Memories:
    """What `MemoryBank.recall` gives: the first frame, then older to newer maps; pointers by age.

    All that a clip is corrected with fades like any recent frame, as in tracking.
    """
    first, others = memories[0], memories[1:]
    recent = others[-(net.num_maskmem - 1) :]
    pointers = [first, *others[::-1][: net.max_obj_ptrs_in_encoder - 1]]
    n, device = first.pointer_nc.shape[0], first.pointer_nc.device
    rows = [net.num_maskmem - 1, *(frame - memory.frame - 1 for memory in recent)]
    ages = [float(frame - memory.frame) for memory in pointers]
    return Memories(
        maps_nkqm=torch.stack([memory.map_nqm for memory in (first, *recent)], dim=1),
        age_index_nk=torch.tensor(rows, device=device).expand(n, -1),
        pointers_npc=torch.stack([memory.pointer_nc for memory in pointers], dim=1),
        pointer_age_np=torch.tensor(ages, device=device).expand(n, -1),
    )


def _decode(
    net: SAM2Base,
    features: Features,
    conditioned_nchw: Tensor,
    frame: int,
    clicks: Clicks | None,
    previous_n1ss: Tensor | None = None,
) -> tuple[Decoded, Guess]:
    """Masks of n objects that tracking takes, and all candidates of them."""
    if clicks is not None and draws_prompts(net):
        previous_n1ss = sketch(clicks, previous_n1ss, net.image_size)
    candidates = decode_candidates(
        net,
        features,
        conditioned_nchw,
        three_masks=wants_three_masks(
            net, first=frame == 0, clicks=0 if clicks is None else clicks.labels_nk.shape[1]
        ),
        clicks=clicks,
        previous_n1ss=previous_n1ss,
        finely=shows_finely(net),
    )
    guess = Guess(
        frame,
        candidates.logits_nass.float(),
        candidates.iou_na.float(),
        candidates.presence_n1.float(),
        candidates.iou_na.argmax(dim=-1),
    )
    return select_mask(net, candidates), guess


def _confined(decoded: Decoded, boxes: Clicks, size: int) -> Decoded:
    """Masks that end at their boxes, as the default policy of tracking has it."""
    rows = []
    for logits_1ss, corners_22 in zip(decoded.logits_n1ss, boxes.coords_nk2, strict=True):
        x0, y0, x1, y1 = (corners_22 / size).flatten().tolist()
        rows.append(confine(logits_1ss[None], (x0, y0, x1, y1)))
    return replace(decoded, logits_n1ss=torch.cat(rows))


def _memorise(net: SAM2Base, features: Features, decoded: Decoded, *, from_prompt: bool) -> Tensor:
    """Memory maps [n, q, m], as `tracker.models.sam2.verbs.memorise`."""
    size = (net.image_size, net.image_size)
    logits = F.interpolate(decoded.logits_n1ss, size, mode="bilinear", align_corners=False)
    mask = logits.sigmoid()
    if from_prompt and net.binarize_mask_from_pts_for_mem_enc:
        mask = mask + ((logits > 0).float() - mask).detach()
    mask = mask * net.sigmoid_scale_for_mem_enc + net.sigmoid_bias_for_mem_enc
    return encode_memory(net, features, mask, decoded.presence_n1)
