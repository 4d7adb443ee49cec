"""Outlines of masks as polygons, along the edges of the pixels.

A polygon's coordinates are those of pixel edges, as boxes have them: a mask of the whole picture
is the polygon 0,0 W,0 W,H 0,H. Filled by the even-odd rule at the pixels' centres, as pycocotools
does it, polygons of tolerance 0 give the mask back to the pixel.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int64]

_CORNERS = 3  # of the smallest polygon
_BLOCK = 256  # points whose distances are in memory at once


@dataclass(frozen=True, slots=True)
class Outline:
    """Outline of one connected part of a mask: rings of points x, y, int64 [N, 2].

    Attributes:
        outer: Around the part.
        holes: Around what is missing in it.
    """

    outer: Ring
    holes: tuple[Ring, ...] = ()


def outlines(
    mask_hw: NDArray[np.bool_], box_xyxy: tuple[int, int, int, int], tolerance_px: float = 0.0
) -> list[Outline]:
    """Outlines of the parts of a bool mask [H, W] that is empty outside of a box.

    Args:
        mask_hw: The mask.
        box_xyxy: Edges of its box.
        tolerance_px: How far an outline may lie beside the mask's (Douglas-Peucker); 0 for exact.
    """
    x0, y0, x1, y1 = box_xyxy
    cropped_hw = mask_hw[y0:y1, x0:x1].astype(np.uint8)
    # Borders run through pixels' centres. Those of the picture at twice its size lie beside the
    # pixel edges, on the side of the mask: coordinate c belongs to the edge (c + 1) // 2.
    doubled_hw = cropped_hw.repeat(2, axis=0).repeat(2, axis=1)
    borders, tree = cv2.findContours(doubled_hw, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not borders:
        return []
    rings = [_along_edges(np.asarray(border), (x0, y0), tolerance_px) for border in borders]
    found: dict[int, list[Ring]] = {}
    for index, parent in enumerate(int(row[3]) for row in tree[0]):
        if parent < 0:
            found.setdefault(index, [])
        else:
            found.setdefault(parent, []).append(rings[index])
    return [Outline(rings[index], tuple(holes)) for index, holes in found.items()]


def bridged(parts: list[Outline]) -> Ring:
    """One ring of all parts and holes, joined at their nearest corners.

    A bridge runs to and fro on the same line, so that the even-odd rule gives it no area.
    """
    ring, *others = [ring for part in parts for ring in (part.outer, *part.holes)]
    for other in others:
        here, there = _nearest(ring, other)
        ring = np.concatenate(
            [ring[: here + 1], other[there:], other[: there + 1], ring[here:]], axis=0
        )
    return ring


def _nearest(first: Ring, second: Ring) -> tuple[int, int]:
    """Indices of the two nearest points of two rings."""
    best = (0, 0, np.inf)
    for start in range(0, len(second), _BLOCK):
        block = second[start : start + _BLOCK]
        distances = ((first[:, None] - block[None]) ** 2).sum(axis=2)
        here, there = divmod(int(distances.argmin()), len(block))
        if distances[here, there] < best[2]:
            best = (here, start + there, distances[here, there])
    return best[:2]


def _along_edges(border: NDArray[Any], origin_xy: tuple[int, int], tolerance_px: float) -> Ring:
    corners = (border.reshape(-1, 2).astype(np.int64) + 1) // 2
    corners = _without_straight(corners)
    if tolerance_px > 0:
        simple = cv2.approxPolyDP(corners.astype(np.int32)[:, None], tolerance_px, closed=True)
        if len(simple) >= _CORNERS:
            corners = simple.reshape(-1, 2).astype(np.int64)
    return np.asarray(corners + np.array(origin_xy), np.int64)


def _without_straight(ring: Ring) -> Ring:
    """The ring without repeated points, and without points on a straight line."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return np.asarray(ring[turns], np.int64)
