"""Masks from PNG files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracker.errors import PromptError
from tracker.rle import MAX_SIDE_PX


def read_mask_png(path: Path) -> NDArray[np.bool_]:
    """Read a mask [H, W]: the object is every pixel that is not zero.

    A palette image counts by index, a colour image by any channel. Where some pixels are
    transparent, the object is what is not transparent, whatever its colour.

    Raises:
        PromptError: The file is missing, is no PNG, or is larger than 16384 pixels a side.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if max(image.size) > MAX_SIDE_PX:
                raise PromptError(
                    f"{path}: mask is {image.width}x{image.height}", "make it smaller"
                )
            pixels = np.asarray(image)
            has_alpha = image.mode in ("RGBA", "LA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, FileNotFoundError):
            raise PromptError(f"{path}: no such mask file", "check the path") from error
        raise PromptError(f"{path}: not a readable PNG mask", "save the mask as PNG") from error
    if pixels.ndim == 2:
        return np.asarray(pixels != 0, dtype=np.bool_)
    if not has_alpha:
        return np.asarray(pixels.any(axis=2), dtype=np.bool_)
    shown = pixels[..., -1] > 0
    if not shown.all():
        return shown
    return np.asarray(pixels[..., :-1].any(axis=2), dtype=np.bool_)
