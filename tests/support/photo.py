"""A picture of smooth colours with a few shapes."""

import numpy as np
from numpy.typing import NDArray


def photo(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)
    for _ in range(6):
        top, left = rng.integers(0, height - 20), rng.integers(0, width - 20)
        image[top : top + 20, left : left + 20] = rng.integers(0, 255, 3)
    return image
