"""Rasterized prompts: rough masks for networks that were trained to be shown them.

SAM's prompt encoder gives the decoder a click as a token, which must be compared with every place
of the image: a small network hardly learns that from few pictures. A mask that is to be corrected
it gives place by place. Here clicks and boxes go that way too, beside their tokens, and on a
tracked frame the mask of the frame before, as in MaskTrack (Perazzi et al., 2017): memories are
coarse, and say less of where the object was.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tracker.models.base import BOX_CORNER_LABELS, Clicks, Decoded

SURE = 10.0  # logit at a click, and of what is outside a box
IN_BOX = 2.0
# A click is drawn as a sharp bump on a wide one: where it is, and what is near. Standard deviations
# in pixels of the input, and heights in all of a click's.
BUMPS = ((12.0, 0.7), (64.0, 0.3))


def carry_over(last: Sequence[Decoded | None], side: int, device: torch.device) -> Tensor:
    """The last masks of objects as logits [n, 1, s, s] to be shown.

    Args:
        last: Decodings of one object or several each; None for one of which nothing is known. Of
            an absent object nothing is said either, which is 0.
        side: Of the masks in pixels, s.
        device: Of the result.
    """
    unknown_11ss = torch.zeros(1, 1, side, side, device=device)
    absent_11 = unknown_11ss[0, 0, :1, :1]
    logits_n1ss = torch.cat([unknown_11ss if d is None else d.logits_n1ss for d in last])
    presence_n1 = torch.cat([absent_11 if d is None else d.presence_n1 for d in last])
    present_n111 = presence_n1[..., None, None] > 0
    return torch.where(present_n111, logits_n1ss.clamp(-SURE, SURE), 0.0)


def rasterize_prompts(
    clicks: Clicks, previous_n1ss: Tensor | None, *, size: int, side: int
) -> Tensor:
    """Prompts of n objects as rough masks, logits [n, 1, s, s].

    Args:
        clicks: Alike in number and kind for all objects.
        previous_n1ss: Logits that clicks correct; None for none. A box alone starts afresh.
        size: Side of the input in pixels.
        side: Side of the masks, s.
    """
    labels_nk, coords_nk2 = clicks.labels_nk, clicks.coords_nk2
    centres_s = (torch.arange(side, device=coords_nk2.device) + 0.5) * (size / side)
    boxed = int(labels_nk[0, 0]) == BOX_CORNER_LABELS[0]
    if boxed and (previous_n1ss is None or labels_nk.shape[1] == len(BOX_CORNER_LABELS)):
        canvas_nss = _box(coords_nk2[:, :2], centres_s)
    elif previous_n1ss is not None:
        canvas_nss = previous_n1ss[:, 0].float().clamp(-SURE, SURE)
    else:
        canvas_nss = centres_s.new_zeros(len(labels_nk), len(centres_s), len(centres_s))
    sign_nk = SURE * ((labels_nk == 1).float() - (labels_nk == 0).float())
    for reach_px, height in BUMPS:
        away_nks2 = (centres_s[:, None] - coords_nk2[:, :, None]) / reach_px
        across_nks, down_nks = torch.exp(-0.5 * away_nks2.square()).unbind(-1)
        bumps_nss = torch.einsum("nk,nky,nkx->nyx", height * sign_nk, down_nks, across_nks)
        canvas_nss = canvas_nss + bumps_nss
    return canvas_nss.clamp(-SURE, SURE)[:, None]


def _box(corners_n22: Tensor, centres_s: Tensor) -> Tensor:
    """`IN_BOX` inside of boxes, surely nothing outside, [n, s, s]."""
    inside_ns2 = (centres_s[:, None] >= corners_n22[:, :1]) & (
        centres_s[:, None] <= corners_n22[:, 1:]
    )
    across_ns, down_ns = inside_ns2.unbind(-1)
    return torch.where(down_ns[:, :, None] & across_ns[:, None], IN_BOX, -SURE)
