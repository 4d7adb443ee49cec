"""Clicks and boxes of a prompt, as the network takes them."""

import torch

from tracker.engine.masks import Box
from tracker.engine.objects import Click
from tracker.models.base import BOX_CORNER_LABELS, Clicks
from tracker.types import Prompt


def clicks_of(prompt: Prompt) -> list[Click]:
    """Box corners, then points, in source pixels."""
    points = zip(prompt.points_xy, prompt.point_labels, strict=True)
    clicks = [(x, y, label) for (x, y), label in points]
    if prompt.box_xyxy is None:
        return clicks
    x0, y0, x1, y1 = prompt.box_xyxy
    first, second = BOX_CORNER_LABELS
    return [(x0, y0, first), (x1, y1, second), *clicks]


def input_clicks(
    clicks: list[Click], height: int, width: int, size: int, device: torch.device
) -> Clicks:
    """Clicks in pixels of the network's input, for one object."""
    table_k3 = torch.tensor(clicks, dtype=torch.float32, device=device)
    coords_k2 = table_k3[:, :2] / table_k3.new_tensor([width, height]) * size
    return Clicks(coords_k2[None], table_k3[None, :, 2].to(torch.int32))


def box_of(clicks: list[Click], height: int, width: int) -> Box | None:
    """The prompted box as fractions of the picture, if there is one that says where the object is.

    A click that puts the object outside its own box overrules the box.
    """
    if len(clicks) < 2 or clicks[0][2] != BOX_CORNER_LABELS[0]:
        return None
    (x0, y0, _), (x1, y1, _) = clicks[:2]
    for x, y, label in clicks[2:]:
        if label == 1 and not (x0 <= x < x1 and y0 <= y < y1):
            return None
    return x0 / width, y0 / height, x1 / width, y1 / height
