"""Draws a clip: a ground, and layers in front of it, each moving in its own way.

Pictures are BGR uint8 [H, W, 3], masks uint8 [H, W] with 0 and 255 and what lies between along
edges. T frames of a canvas of side S, on which there are o objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.train.motion import Bend, Floats, Path

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Something that moves over the canvas.

    Attributes:
        pictures: One for each frame; a still repeats one.
        inverse_t23: From canvas pixels to picture pixels, frame by frame.
        masks: What of the pictures is drawn, one for each: an object. None for a ground.
        regions: Objects on the pictures, each with a mask for each frame; only a ground has them.
        bend: Displaces canvas pixels before that; None for none.
        smear_px: Length of its motion blur, 0 for none, and its direction in degrees.
    """

    pictures: Sequence[Picture]
    inverse_t23: Floats
    masks: Sequence[Picture] | None = None
    regions: Sequence[Sequence[Picture]] = ()
    bend: Bend | None = None
    smear_px: tuple[int, float] = (0, 0.0)


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of the canvas."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)


def placement(
    path: Path, picture_hw: tuple[int, ...], middle_xy: tuple[float, float], scale: float, side: int
) -> Floats:
    """Matrices [T, 2, 3] from canvas to picture pixels.

    Args:
        path: The motion.
        picture_hw: Size of the picture.
        middle_xy: Where its middle is on the canvas before the motion, in sides.
        scale: Canvas pixels for a pixel of the picture before the motion.
        side: Of the canvas, in pixels.
    """
    height, width = picture_hw[:2]
    inverse_t22 = np.linalg.inv(path.matrices_t22 * scale)
    at_t2 = (path.shifts_t2 + np.asarray(middle_xy)) * side
    offset_t2 = np.array([width / 2, height / 2]) - np.einsum("tij,tj->ti", inverse_t22, at_t2)
    return np.concatenate([inverse_t22, offset_t2[..., None]], axis=2)


def draw(
    ground: Layer, layers: Sequence[Layer], side: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures [T, S, S, 3] and masks [o, T, S, S] of objects as far as they are seen.

    The regions of the ground come first, then the layers in their order.
    """
    frames, regions = len(ground.inverse_t23), len(ground.regions)
    pictures = np.empty((frames, side, side, 3), np.uint8)
    masks = np.zeros((regions + len(layers), frames, side, side), np.uint8)
    everything = _Window(0, 0, side, side)
    for t in range(frames):
        u = t / max(1, frames - 1)
        pictures[t] = _sample(ground.pictures[t], ground, t, u, everything, cv2.BORDER_REFLECT_101)
        for mask, region in zip(masks[:, t], ground.regions, strict=False):
            mask[:] = _sample(region[t], ground, t, u, everything, cv2.BORDER_CONSTANT)
        for number, layer in enumerate(layers, regions):
            _draw_layer(layer, t, u, pictures[t], masks[: number + 1, t])
    return pictures, masks


def _draw_layer(layer: Layer, t: int, u: float, picture: Picture, masks: Picture) -> None:
    """Draw a layer on a canvas, in place, and its mask, the last; the others are behind it."""
    assert layer.masks is not None
    window = _extent(layer, t, picture.shape[0])
    if window is None:
        return
    patch = _sample(layer.pictures[t], layer, t, u, window, cv2.BORDER_REPLICATE)
    opacity = _sample(layer.masks[t], layer, t, u, window, cv2.BORDER_CONSTANT)
    if layer.smear_px[0] > 1:
        kernel = line_kernel(*layer.smear_px)
        patch = np.asarray(cv2.filter2D(patch, -1, kernel), np.uint8)
        opacity = np.asarray(cv2.filter2D(opacity, -1, kernel), np.uint8)
    part = (window.rows, window.columns)
    weight = opacity.astype(np.float32) / 255
    picture[part] = cv2.blendLinear(patch, np.ascontiguousarray(picture[part]), weight, 1 - weight)
    hidden = masks[:-1, *part]
    np.minimum(hidden, 255 - opacity, out=hidden)
    masks[-1, *part] = opacity


def _extent(layer: Layer, t: int, side: int) -> _Window | None:
    """Window of the canvas that a layer can cover; None where it lies outside."""
    height, width = layer.pictures[t].shape[:2]
    matrix, offset = layer.inverse_t23[t, :, :2], layer.inverse_t23[t, :, 2]
    corners_42 = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    at_42 = np.linalg.solve(matrix, (corners_42 - offset).T).T
    margin = 2 + layer.smear_px[0]
    if layer.bend is not None:
        margin += int(max(np.abs(layer.bend.first_2ss).max(), np.abs(layer.bend.last_2ss).max()))
    low = np.clip(np.floor(at_42.min(axis=0)).astype(int) - margin, 0, side)
    high = np.clip(np.ceil(at_42.max(axis=0)).astype(int) + margin, 0, side)
    if (low >= high).any():
        return None
    return _Window(*low.tolist(), *high.tolist())


def _sample(
    picture: Picture, layer: Layer, t: int, u: float, window: _Window, border: int
) -> Picture:
    """Part of a picture that a window of the canvas shows."""
    matrix = layer.inverse_t23[t]
    size = (window.right - window.left, window.bottom - window.top)
    if layer.bend is None:
        moved = matrix.copy()
        moved[:, 2] += matrix[:, :2] @ [window.left, window.top]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(picture, moved, size, flags=flags, borderMode=border), np.uint8
        )
    bend_x, bend_y = layer.bend.at(u, window.rows, window.columns)
    x = bend_x + np.arange(window.left, window.right, dtype=np.float32)
    y = bend_y + np.arange(window.top, window.bottom, dtype=np.float32)[:, None]
    (xx, xy, x0), (yx, yy, y0) = matrix.astype(np.float32)
    return np.asarray(
        cv2.remap(
            picture, xx * x + xy * y + x0, yx * x + yy * y + y0, cv2.INTER_LINEAR, borderMode=border
        ),
        np.uint8,
    )


def line_kernel(length_px: int, degrees: float) -> NDArray[np.float32]:
    """A line through the middle of a square that adds up to one."""
    side = length_px | 1
    row = np.zeros((side, side), np.float32)
    row[side // 2] = 1
    turn = cv2.getRotationMatrix2D((side // 2, side // 2), degrees, 1)
    line = np.asarray(cv2.warpAffine(row, turn, (side, side)), np.float32)
    return np.asarray(line / line.sum(), np.float32)
