"""Smooth random motion over a square canvas: affine paths, and bends that change on the way."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GRID = 4  # knots of a bend, each way
SHAKE = 0.03  # of the reach, from frame to frame


@dataclass(frozen=True, slots=True)
class Reach:
    """Limits of a path, either way.

    Attributes:
        zoom: Logarithm of the scale.
        stretch: Logarithm of the ratio of width to height.
        turn: Radians.
        shear: Radians.
        shift: Sides of the canvas.
    """

    zoom: float
    stretch: float
    turn: float
    shear: float
    shift: float


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """Path of a picture: affine maps of offsets from its middle, frame by frame.

    Attributes:
        matrices_t22: What an offset is multiplied with.
        shifts_t2: What is added, x and y in sides of the canvas.
    """

    matrices_t22: Floats
    shifts_t2: Floats


def random_path(random: np.random.Generator, frames: int, reach: Reach) -> Path:
    """A curve through random poses, with a little shake."""
    limits = np.array(
        [reach.zoom, reach.stretch, reach.turn, reach.shear, reach.shift, reach.shift]
    )
    first, bow, last = random.uniform(-1, 1, (3, 6)) * limits
    middle = (first + last) / 2 + bow / 2
    u = np.linspace(0, 1, frames)[:, None]
    poses = (1 - u) ** 2 * first + 2 * u * (1 - u) * middle + u**2 * last
    poses += random.normal(0, SHAKE, poses.shape) * limits
    zoom, stretch, turn, shear = poses[:, :4].T
    across, down = np.exp(zoom + stretch / 2), np.exp(zoom - stretch / 2)
    matrices = np.stack(
        [
            np.stack([np.cos(turn) * across, -np.sin(turn + shear) * down], axis=-1),
            np.stack([np.sin(turn) * across, np.cos(turn + shear) * down], axis=-1),
        ],
        axis=1,
    )
    return Path(matrices, poses[:, 4:])


def away_and_back(random: np.random.Generator, frames: int) -> Floats:
    """Shifts [frames, 2], in sides, of something that leaves the canvas and may come back.

    It is in its place on the first frame.
    """
    angle = random.uniform(0, 2 * np.pi)
    leaves = random.integers(1, frames)
    returns = random.integers(leaves + 1, frames + 2)  # beyond the last frame: never
    at = np.arange(frames)
    gone = np.where((at >= leaves) & (at < returns), random.uniform(0.8, 1.4), 0.0)
    shifts: Floats = gone[:, None] * np.array([np.cos(angle), np.sin(angle)])
    return shifts


@dataclass(frozen=True, slots=True, eq=False)
class Bend:
    """Displacements in pixels of the canvas, float32 [2, side, side], at both ends of a clip."""

    first_2ss: NDArray[np.float32]
    last_2ss: NDArray[np.float32]

    def at(
        self, u: float, rows: slice, columns: slice
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Displacements x and y in a part of the canvas, `u` of the way through the clip."""
        first, last = self.first_2ss[:, rows, columns], self.last_2ss[:, rows, columns]
        between = first + np.float32(u) * (last - first)
        return between[0], between[1]


def random_bend(random: np.random.Generator, side: int, amplitude: float) -> Bend:
    """A smooth bend of up to `amplitude` sides."""
    ends = [
        np.stack([_smooth_field(random, side, amplitude * side) for _ in range(2)])
        for _ in range(2)
    ]
    return Bend(ends[0], ends[1])


def _smooth_field(
    random: np.random.Generator, side: int, amplitude_px: float
) -> NDArray[np.float32]:
    knots = random.uniform(-amplitude_px, amplitude_px, (GRID, GRID)).astype(np.float32)
    return np.asarray(cv2.resize(knots, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)
