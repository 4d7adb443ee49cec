"""A red square that moves over a textured ground, for tests of the engine."""

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 120, 160


def square(shift: int = 0) -> NDArray[np.bool_]:
    """The mask of the square, `shift` pixels to the right of where it begins."""
    mask_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask_hw[40:80, 50 + shift : 90 + shift] = True
    return mask_hw


def frame(shift: int = 0) -> NDArray[np.uint8]:
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([90 + 30 * np.sin(xs / 5), 110 + 30 * np.cos(ys / 7), 0 * xs + 80], axis=-1)
    image[square(shift)] = (220, 40, 40)
    return image.astype(np.uint8)
