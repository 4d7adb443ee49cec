"""A clip whose frames say which they are: a number in blocks, and a disc that moves."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streams import VideoWriter

WIDTH, HEIGHT = 320, 240
BITS, BLOCK = 10, 24
RADIUS = 26


def centre(number: int) -> tuple[int, int]:
    """Of the disc, in pixels."""
    turn = 2 * np.pi * number / 100
    return round(160 + 90 * np.cos(turn)), round(145 + 55 * np.sin(turn))


def numbered(number: int) -> NDArray[np.uint8]:
    image = np.full((HEIGHT, WIDTH, 3), (60, 90, 70), np.uint8)
    for bit in range(BITS):
        value = 255 if number >> bit & 1 else 0
        image[4 : 4 + BLOCK, 4 + bit * 30 : 4 + bit * 30 + BLOCK] = value
    cv2.circle(image, centre(number), RADIUS, (230, 120, 20), -1)
    return image


def number_of(image_hwc: NDArray[np.uint8]) -> int:
    """The number that a picture of any size shows."""
    scale = image_hwc.shape[1] / WIDTH
    y = round((4 + BLOCK / 2) * scale)
    middles = (round((4 + bit * 30 + BLOCK / 2) * scale) for bit in range(BITS))
    return sum(int(image_hwc[y, x].mean() > 128) << bit for bit, x in enumerate(middles))


def write_numbered(path: Path, count: int, fps: int = 25) -> Path:
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=Fraction(fps)) as video:
        for number in range(count):
            video.write(numbered(number), number, Fraction(1, fps))
    return path
