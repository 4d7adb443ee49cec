"""Clicks and boxes of a prompt, as the network takes them."""

import torch

from tracker.engine.masks import Box
from tracker.models.base import BOX_CORNER_LABELS, Clicks
from tracker.types import Prompt

#: x, y in source pixels, and a label: 1 object, 0 not, `BOX_CORNER_LABELS` corners of a box.
Click = tuple[float, float, int]


def clicks_of(prompt: Prompt) -> list[Click]:
    """Box corners, then points, in source pixels."""
    points = zip(prompt.points_xy, prompt.point_labels, strict=True)
    clicks = [(x, y, label) for (x, y), label in points]
    if prompt.box_xyxy is None:
        return clicks
    x0, y0, x1, y1 = prompt.box_xyxy
    first, second = BOX_CORNER_LABELS
    return [(x0, y0, first), (x1, y1, second), *clicks]


def prompt_of(object_id: int, clicks: list[Click]) -> Prompt:
    """The prompt that `clicks_of` gave these clicks of."""
    boxed = bool(clicks) and clicks[0][2] == BOX_CORNER_LABELS[0]
    points = clicks[2:] if boxed else clicks
    return Prompt(
        object_id,
        points_xy=tuple((x, y) for x, y, _ in points),
        point_labels=tuple(label for _, _, label in points),
        box_xyxy=(*clicks[0][:2], *clicks[1][:2]) if boxed else None,
    )


def input_clicks(
    prompt: Prompt, height: int, width: int, size: int, device: torch.device
) -> Clicks:
    """Clicks on a frame in pixels of the network's input, for one object."""
    table_k3 = torch.tensor(clicks_of(prompt), dtype=torch.float32, device=device)
    coords_k2 = table_k3[:, :2] / table_k3.new_tensor([width, height]) * size
    return Clicks(coords_k2[None], table_k3[None, :, 2].to(torch.int32))


def box_of(prompt: Prompt, height: int, width: int) -> Box | None:
    """The prompted box as fractions of the picture, if there is one that says where the object is.

    A click that puts the object outside its own box overrules the box.
    """
    if prompt.box_xyxy is None:
        return None
    x0, y0, x1, y1 = prompt.box_xyxy
    for (x, y), label in zip(prompt.points_xy, prompt.point_labels, strict=True):
        if label == 1 and not (x0 <= x < x1 and y0 <= y < y1):
            return None
    return x0 / width, y0 / height, x1 / width, y1 / height
