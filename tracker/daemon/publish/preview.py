"""JPEG previews: how a picture is made, and when the next one is due."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.protocol.fields import Preview


def encode_preview(image_hwc: NDArray[np.uint8], preview: Preview) -> tuple[bytes, float]:
    """Shrink an RGB image to the size that `preview` allows and compress it.

    Returns:
        The JPEG file, and its pixels per pixel of the image (at most 1).
    """
    height, width = image_hwc.shape[:2]
    scale = min(1.0, preview.max_side_px / max(height, width))
    if scale < 1:
        size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        image_hwc = _shrunk(image_hwc, size_wh)
    bgr_hwc = cv2.cvtColor(image_hwc, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr_hwc, [cv2.IMWRITE_JPEG_QUALITY, preview.quality])
    return jpeg.tobytes(), scale


def _shrunk(image_hwc: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """The image at a smaller size: averaged by a whole factor, then interpolated.

    OpenCV averages by whole factors several times as fast as by others.
    """
    height, width = image_hwc.shape[:2]
    factor = min(width // size_wh[0], height // size_wh[1])
    if factor > 1:
        rough_wh = (width // factor, height // factor)
        even_hwc = image_hwc[: rough_wh[1] * factor, : rough_wh[0] * factor]
        image_hwc = np.asarray(cv2.resize(even_hwc, rough_wh, interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.resize(image_hwc, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)


class PreviewPace:
    """Lets through at most so many pictures a second, evenly spread."""

    def __init__(self) -> None:
        self._next_s = float("-inf")

    def is_due(self, now_s: float, fps: float) -> bool:
        """True if a picture may be sent at `now_s`, any monotonic clock; asking takes the turn."""
        if fps <= 0 or now_s < self._next_s:
            return False
        # A late picture does not delay the next one, but a pause gives no right to a burst.
        period_s = 1 / fps
        self._next_s = max(self._next_s + period_s, now_s + period_s / 2)
        return True
