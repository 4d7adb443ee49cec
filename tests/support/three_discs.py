"""A clip of three discs that move over a textured ground."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streams import VideoWriter

WIDTH, HEIGHT = 320, 192
RADIUS = 24
COLOURS = ((220, 40, 40), (40, 200, 60), (60, 80, 230))


def centre(disc: int, number: int) -> tuple[int, int]:
    """Of a disc, 0 to 2, on a frame, in pixels."""
    return 60 + 5 * number + 20 * disc, 34 + 60 * disc


def box(disc: int, number: int) -> tuple[float, float, float, float]:
    """Around a disc: left, top, right, bottom edge."""
    x, y = centre(disc, number)
    return x - RADIUS - 1.0, y - RADIUS - 1.0, x + RADIUS + 2.0, y + RADIUS + 2.0


def picture(number: int) -> NDArray[np.uint8]:
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([90 + 30 * np.sin(xs / 5), 110 + 30 * np.cos(ys / 7), 0 * xs + 80], axis=-1)
    image = np.ascontiguousarray(image.astype(np.uint8))
    for disc, colour in enumerate(COLOURS):
        cv2.circle(image, centre(disc, number), RADIUS, colour, -1)
    return image


def write_clip(path: Path, count: int) -> Path:
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=Fraction(10)) as video:
        for number in range(count):
            video.write(picture(number), number, Fraction(1, 10))
    return path
