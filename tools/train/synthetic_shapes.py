"""Things and grounds that are drawn, not photographed: flat or patterned shapes, plain walls.

Photographs teach a network that objects have texture of their own. Labels, balls, boxes and
screens often have none.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.policies.cutouts import Cutout
from tools.train.scene import Picture

THING_SIDE, GROUND_SIDE = 128, 256  # pixels
PATTERN_SHARE = 0.4  # of the things; the others have one colour
SHADE = 0.35  # darkest and brightest end of a shading, off 1
WAVELENGTHS = (0.02, 0.4)  # of a pattern, in sides
CONTRASTS = (10, 70)  # amplitude of a pattern, grey levels
CORNERS = (3, 9)

Surface = NDArray[np.float32]
"""Relative brightness [side, side], from -1 to 1."""


def random_drawing(random: np.random.Generator) -> Cutout:
    """A rectangle, an ellipse, a ring or a polygon of one colour or with a pattern; BGR."""
    shapes = (_rectangle, _ellipse, _ring, _polygon)
    mask = np.zeros((THING_SIDE, THING_SIDE), np.uint8)
    shapes[random.integers(len(shapes))](mask, random)
    picture = _coloured(random, THING_SIDE, random.random() < PATTERN_SHARE)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Cutout(picture[part], mask[part] > 0)


def random_wall(random: np.random.Generator) -> Picture:
    """A plain or patterned ground, BGR [256, 256, 3]."""
    return _coloured(random, GROUND_SIDE, random.random() < 1 - PATTERN_SHARE)


def _rectangle(mask: Picture, random: np.random.Generator) -> None:
    width, height = random.integers(THING_SIDE // 4, THING_SIDE, 2).tolist()
    mask[:height, :width] = 1


def _ellipse(mask: Picture, random: np.random.Generator) -> None:
    axes = random.integers(THING_SIDE // 8, THING_SIDE // 2, 2).tolist()
    middle = THING_SIDE // 2
    cv2.ellipse(mask, (middle, middle), axes, 0, 0, 360, 1, cv2.FILLED)


def _ring(mask: Picture, random: np.random.Generator) -> None:
    outer = int(random.integers(THING_SIDE // 4, THING_SIDE // 2))
    middle = (THING_SIDE // 2, THING_SIDE // 2)
    cv2.circle(mask, middle, outer, 1, cv2.FILLED)
    cv2.circle(mask, middle, int(outer * random.uniform(0.3, 0.7)), 0, cv2.FILLED)


def _polygon(mask: Picture, random: np.random.Generator) -> None:
    """Corners all around the middle, at any distance: convex or a star."""
    corners = int(random.integers(*CORNERS))
    angles = np.sort(random.uniform(0, 2 * np.pi, corners))
    reach = THING_SIDE / 2 * random.uniform(0.4, 1, corners)
    points = THING_SIDE / 2 + np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
    cv2.fillPoly(mask, [points.round().astype(np.int32)], 1)
    mask[THING_SIDE // 2, THING_SIDE // 2] = 1  # three corners may lie on a line


def _coloured(random: np.random.Generator, side: int, patterned: bool) -> Picture:
    base = random.uniform(0, 255, 3)
    if patterned:
        tint = random.uniform(-1, 1, 3) * random.uniform(*CONTRASTS)
        change = _pattern(random, side)[..., None] * tint
        colours = base + change
    else:
        colours = base * (1 + SHADE * random.random() * _slope(random, side)[..., None])
    return np.clip(colours, 0, 255).astype(np.uint8)


def _pattern(random: np.random.Generator, side: int) -> Surface:
    patterns: tuple[Callable[[np.random.Generator, int], Surface], ...]
    patterns = (_waves, _checks, _patches)
    return patterns[random.integers(len(patterns))](random, side)


def _slope(random: np.random.Generator, side: int) -> Surface:
    """Bright at one end, dark at the other."""
    angle = random.uniform(0, 2 * np.pi)
    x, y = np.cos(angle), np.sin(angle)
    at = np.linspace(-1, 1, side)
    return np.asarray((x * at + y * at[:, None]) / (abs(x) + abs(y)), np.float32)


def _waves(random: np.random.Generator, side: int) -> Surface:
    """Two plane waves of their own lengths and directions."""
    at = np.arange(side) / side
    total = np.zeros((side, side))
    for _ in range(2):
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        wavelength = np.exp(random.uniform(*np.log(WAVELENGTHS)))
        along = np.cos(angle) * at + np.sin(angle) * at[:, None]
        total += np.sin(2 * np.pi * along / wavelength + phase)
    return np.asarray(total / 2, np.float32)


def _checks(random: np.random.Generator, side: int) -> Surface:
    """Stripes one way, or both ways."""
    waves = np.sign(np.sin(np.arange(side) / side * 2 * np.pi / random.uniform(0.05, 0.4)) + 1e-6)
    across = waves if random.random() < 0.5 else np.ones(side)
    return np.asarray(waves[:, None] * across, np.float32)


def _patches(random: np.random.Generator, side: int) -> Surface:
    """Smooth random patches, or grains."""
    knots = int(random.integers(3, side // 4))
    values = random.uniform(-1, 1, (knots, knots)).astype(np.float32)
    return np.asarray(cv2.resize(values, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
