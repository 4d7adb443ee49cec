"""Other backgrounds: a picture, a video that begins again at its end, or a colour."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from streams import StreamError, open_source
from tracker.errors import UsageError

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_FORM = "a picture, a video or a colour (a name, #RRGGBB)"


def check_background(argument: str) -> None:
    """Check that a background is there.

    Raises:
        UsageError: It is neither a file that can be read nor a colour.
    """
    next(_frames(argument))


class Background:
    """A background, filling each picture from its middle; gives the next frame of a video."""

    def __init__(self, argument: str) -> None:
        """Open it."""
        self._frames = _frames(argument)

    def __call__(self, image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The background at the size of a picture."""
        height, width = image_hwc.shape[:2]
        return _filling(next(self._frames), height, width)


def _frames(argument: str) -> Iterator[NDArray[np.uint8]]:
    path = Path(argument)
    if not path.is_file():
        yield from _colour(argument)
    elif path.suffix.lower() in _PICTURES:
        yield from _picture(path)
    while True:
        try:
            with open_source(f"file:{path}" if ":" in str(path) else str(path)) as source:
                yield from (frame.image for frame in source)
        except StreamError as error:
            raise UsageError(f"--effect background:{argument}: {error}", f"give {_FORM}") from error


def _colour(argument: str) -> Iterator[NDArray[np.uint8]]:
    try:
        rgb = ImageColor.getrgb(argument)[:3]
    except ValueError as error:
        raise UsageError(
            f"--effect background:{argument}: no such file, and no colour", f"give {_FORM}"
        ) from error
    while True:
        yield np.array([[rgb]], np.uint8)


def _picture(path: Path) -> Iterator[NDArray[np.uint8]]:
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image) or image
            image_hwc = np.asarray(upright.convert("RGB"), np.uint8)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(
            f"--effect background:{path}: not a readable picture", "save it again"
        ) from error
    while True:
        yield image_hwc


def _filling(image_hwc: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The middle of a picture, scaled to fill `height` x `width` pixels."""
    if image_hwc.shape[:2] == (height, width):
        return image_hwc
    scale = max(height / image_hwc.shape[0], width / image_hwc.shape[1])
    size_wh = (max(width, round(image_hwc.shape[1] * scale)),
               max(height, round(image_hwc.shape[0] * scale)))  # fmt: skip
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(image_hwc, size_wh, interpolation=kind)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return np.asarray(scaled[top : top + height, left : left + width], np.uint8)
