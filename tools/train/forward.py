"""Clips through the network, with gradients: what the engine does, for n objects at a time.

The engine's own functions condition on memories and adopt masks, so that ages, encodings and the
order of memories are those of tracking. What differs from `Sam2Network`:
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
from tracker.engine import carry_over, confine_to_box, rasterize_prompts
from tracker.models.base import Clicks, Decoded, Features, Memories
from tracker.models.sam2.extensions import draws_prompts, follows_masks
from tracker.models.sam2.verbs import Sam2Network

MASK_STRIDE = 4  # of low-resolution masks, in pixels of the input


@dataclass(frozen=True, slots=True)
class Guess:
    """Candidate masks of n objects on one frame of their clips.

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
    """Memory of one frame."""

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
    network, side = Sam2Network(net), net.image_size // MASK_STRIDE
    frames, objects = len(images_ti3ss), masks_tn1ss.shape[1] // images_ti3ss.shape[1]
    guesses: list[Guess] = []
    memories: list[_Memory] = []
    for frame, features in enumerate(_encode(net, images_ti3ss, objects)):
        truth = masks_tn1ss[frame]
        if frame == 0:
            decoded, own = _first(network, features, truth, plan, prompts, random)
            prompted = True
        else:
            prompted = frame == plan.later_frame
            corrections = plan.later_corrections if prompted else 0
            carried = None
            if follows_masks(net):
                carried = carry_over([decoded], side, truth.device).detach()
                carried = spoil(carried, objects, prompts, random)
            conditioned = network.condition(features, [_recall(net, memories, frame)])
            decoded, own = _later(
                network, features, conditioned, frame, truth, carried, corrections, random
            )
        guesses += own
        if frame < frames - 1:
            map_nqm = _encode_memory(network, features, decoded, from_prompt=prompted)
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
    network: Sam2Network,
    features: Features,
    truth_n1ss: Tensor,
    plan: Plan,
    prompts: Prompts,
    random: np.random.Generator,
) -> tuple[Decoded, list[Guess]]:
    """The prompted frame: a mask is taken as it is, clicks are decoded and corrected."""
    if plan.kind is PromptKind.MASK:
        return network.adopt_mask(features, truth_n1ss.float()), []
    conditioned = network.condition(features, [])
    first = clicks = first_clicks(plan.kind, truth_n1ss, prompts, random)
    decoded, guess = _decode(network, features, conditioned, 0, clicks)
    guesses = [guess]
    for _ in range(plan.first_corrections):
        clicks = add_correction(clicks, decoded.logits_n1ss, truth_n1ss, random)
        before = decoded.logits_n1ss.detach()
        decoded, guess = _decode(network, features, conditioned, 0, clicks, before)
        guesses.append(guess)
    if plan.kind is PromptKind.BOX:
        decoded = _confined(decoded, first, network.module.image_size)
    return decoded, guesses


def _later(
    network: Sam2Network,
    features: Features,
    conditioned: Tensor,
    frame: int,
    truth_n1ss: Tensor,
    carried_n1ss: Tensor | None,
    corrections: int,
    random: np.random.Generator,
) -> tuple[Decoded, list[Guess]]:
    """A tracked frame, corrected by clicks or not."""
    decoded, guess = _decode(network, features, conditioned, frame, None, carried_n1ss)
    guesses, clicks = [guess], None
    for _ in range(corrections):
        clicks = add_correction(clicks, decoded.logits_n1ss, truth_n1ss, random)
        before = decoded.logits_n1ss.detach()
        decoded, guess = _decode(network, features, conditioned, frame, clicks, before)
        guesses.append(guess)
    return decoded, guesses


def _recall(net: SAM2Base, memories: list[_Memory], frame: int) -> Memories:
    """Memories as of `MemoryBank.recall`: first frame, then older to newer maps; pointers by age.

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
    network: Sam2Network,
    features: Features,
    conditioned_nchw: Tensor,
    frame: int,
    clicks: Clicks | None,
    previous_n1ss: Tensor | None = None,
) -> tuple[Decoded, Guess]:
    """Masks of n objects that tracking takes, and all candidates of them."""
    if clicks is not None and draws_prompts(network.module):
        size: int = network.module.image_size
        side = size // MASK_STRIDE
        previous_n1ss = rasterize_prompts(clicks, previous_n1ss, size=size, side=side)
    candidates = network.decode_candidates(
        features,
        conditioned_nchw,
        first=frame == 0,
        clicks=clicks,
        previous_n1ss=previous_n1ss,
        shows_masks=True,
    )
    guess = Guess(
        frame,
        candidates.logits_nass.float(),
        candidates.iou_na.float(),
        candidates.presence_n1.float(),
        candidates.iou_na.argmax(dim=-1),
    )
    return network.select_mask(candidates), guess


def _confined(decoded: Decoded, boxes: Clicks, size: int) -> Decoded:
    """Masks that end at their boxes, as the default policy of tracking has it."""
    rows = []
    for logits_1ss, corners_22 in zip(decoded.logits_n1ss, boxes.coords_nk2, strict=True):
        x0, y0, x1, y1 = (corners_22 / size).flatten().tolist()
        rows.append(confine_to_box(logits_1ss[None], (x0, y0, x1, y1)))
    return replace(decoded, logits_n1ss=torch.cat(rows))


def _encode_memory(
    network: Sam2Network, features: Features, decoded: Decoded, *, from_prompt: bool
) -> Tensor:
    """Memory maps [n, q, m], as `Sam2Network.encode_memory`."""
    net = network.module
    size = (net.image_size, net.image_size)
    logits = F.interpolate(decoded.logits_n1ss, size, mode="bilinear", align_corners=False)
    mask = logits.sigmoid()
    if from_prompt and net.binarize_mask_from_pts_for_mem_enc:
        mask = mask + ((logits > 0).float() - mask).detach()
    mask = mask * net.sigmoid_scale_for_mem_enc + net.sigmoid_bias_for_mem_enc
    return network.encode_masks(features, mask, decoded.presence_n1)
