"""Prompts drawn from true masks, and clicks that correct a mask, for a batch of n clips.

Points are in pixels of the network's input.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tools.evaluate.prompting import PromptKind
from tools.train.config import Prompts
from tracker.models.base import BOX_CORNER_LABELS, Clicks

Mask = NDArray[np.bool_]

BOX_JITTER = 0.06  # standard deviation, of the box's size
NEAR_MIDDLE = 0.7  # of the largest distance to the outside
# What becomes of masks carried over to the next frame that are spoiled; the others are shifted.
UNKNOWN, SPREAD = 0.25, 0.25
SHIFT = 0.03  # standard deviation, of the picture's side


@dataclass(frozen=True, slots=True)
class Plan:
    """Prompts of a batch: alike for all its clips, as the network's passes are.

    Attributes:
        kind: On the first frame.
        first_corrections: Clicks that follow on the first frame, one after the other.
        later_frame: A frame that is corrected too, None for none.
        later_corrections: Clicks on it.
    """

    kind: PromptKind
    first_corrections: int
    later_frame: int | None
    later_corrections: int


def random_plan(prompts: Prompts, frames: int, random: np.random.Generator) -> Plan:
    """Draw a plan; a mask is not corrected on its own frame."""
    weights = np.array([prompts.mask, prompts.box, prompts.point])
    kind = list(PromptKind)[random.choice(3, p=weights / weights.sum())]
    first, later = random.integers(1, prompts.corrections + 1, 2)
    corrects_first = kind is not PromptKind.MASK and random.random() < prompts.correct_first
    corrects_later = random.random() < prompts.correct_later
    return Plan(
        kind=kind,
        first_corrections=int(first) if corrects_first else 0,
        later_frame=int(random.integers(1, frames)) if corrects_later else None,
        later_corrections=int(later),
    )


def first_clicks(
    kind: PromptKind, masks_n1ss: Tensor, prompts: Prompts, random: np.random.Generator
) -> Clicks:
    """A box or a click on each object.

    Args:
        kind: Box or point.
        masks_n1ss: bool, none of them empty.
        prompts: How exact they are.
        random: Where chance comes from.
    """
    masks = masks_n1ss[:, 0].cpu().numpy()
    if kind is PromptKind.BOX:
        coords = [_box(mask, random.random() < prompts.exact_box, random) for mask in masks]
        labels: tuple[int, ...] = BOX_CORNER_LABELS
    else:
        coords = [_point(m, random.random() < prompts.central_point, random) for m in masks]
        labels = (1,)
    return _clicks(coords, [labels] * len(masks), masks_n1ss.device)


def add_correction(
    clicks: Clicks | None, logits_n1ss: Tensor, masks_n1ss: Tensor, random: np.random.Generator
) -> Clicks:
    """One more click on each object, where its mask is wrong.

    Args:
        clicks: Those before on the same frame.
        logits_n1ss: The masks to correct, at any resolution.
        masks_n1ss: bool, the true masks, at input resolution.
        random: Where chance comes from.
    """
    size = masks_n1ss.shape[-2:]
    upsampled = torch.nn.functional.interpolate(logits_n1ss.detach().float(), size, mode="bilinear")
    pairs = zip((upsampled[:, 0] > 0).cpu().numpy(), masks_n1ss[:, 0].cpu().numpy(), strict=True)
    picked = [_wrong_pixel(guess, truth, random) for guess, truth in pairs]
    new = _clicks([xy for xy, _ in picked], [(label,) for _, label in picked], masks_n1ss.device)
    if clicks is None:
        return new
    return Clicks(
        torch.cat([clicks.coords_nk2, new.coords_nk2], dim=1),
        torch.cat([clicks.labels_nk, new.labels_nk], dim=1),
    )


def _clicks(
    coords: list[NDArray[np.float64]], labels: list[tuple[int, ...]], device: torch.device
) -> Clicks:
    return Clicks(
        torch.from_numpy(np.stack(coords).astype(np.float32)).to(device),
        torch.tensor(labels, dtype=torch.int32, device=device),
    )


def _box(mask: Mask, exact: bool, random: np.random.Generator) -> NDArray[np.float64]:
    """Corners [2, 2]; the second lies outside the object."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    corners = np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], np.float64)
    if exact:
        return corners
    size = corners[1] - corners[0]
    moved = corners + random.normal(0, BOX_JITTER, (2, 2)) * size
    side = mask.shape[1]
    return np.asarray(np.clip(moved, 0, [[side - 1] * 2, [side] * 2]))


def _point(mask: Mask, central: bool, random: np.random.Generator) -> NDArray[np.float64]:
    """A pixel of the object [1, 2]."""
    if central:
        # The border of the picture is no outside, as for a careful person.
        distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
        mask = distance >= NEAR_MIDDLE * distance.max()
    return _pixel(mask, random)


def _wrong_pixel(
    guess: Mask, truth: Mask, random: np.random.Generator
) -> tuple[NDArray[np.float64], int]:
    """A pixel [1, 2] where a guess is wrong, or any where it is right, and what is true there."""
    wrong = guess != truth
    xy = _pixel(wrong if wrong.any() else np.ones_like(truth), random)
    column, row = xy[0].astype(int)
    return xy, int(truth[row, column])


def _pixel(mask: Mask, random: np.random.Generator) -> NDArray[np.float64]:
    inside = np.flatnonzero(mask)
    row, column = divmod(int(inside[random.integers(inside.size)]), mask.shape[1])
    return np.array([[column, row]], np.float64)


def spoil(
    carried_n1ss: Tensor, objects: int, prompts: Prompts, random: np.random.Generator
) -> Tensor:
    """Masks carried over to the next frame, some of them as wrong as they are on new videos.

    Some are unknown, some take in another object of the clip, some lie beside the object.

    Args:
        carried_n1ss: Logits.
        objects: So many in a row are of one clip.
        prompts: How many are spoiled.
        random: Chooses.
    """
    if prompts.spoiled == 0:
        return carried_n1ss
    spoiled = carried_n1ss.clone()
    by_clip = carried_n1ss.reshape(-1, objects, *carried_n1ss.shape[1:])
    others_n1ss = by_clip.roll(1, dims=1).flatten(0, 1)
    for i in np.flatnonzero(random.random(len(spoiled)) < prompts.spoiled):
        fate = random.random()
        if fate < UNKNOWN:
            spoiled[i] = 0.0
        elif fate < UNKNOWN + SPREAD:
            spoiled[i] = torch.maximum(carried_n1ss[i], others_n1ss[i])
        else:
            down, right = (random.normal(0.0, SHIFT, 2) * spoiled.shape[-1]).round().astype(int)
            spoiled[i] = carried_n1ss[i].roll((int(down), int(right)), dims=(-2, -1))
    return spoiled
