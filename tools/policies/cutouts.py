"""Objects cut out of stills, to paste on other stills."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.errors import TrackdError

CLASSES = ("weizmann", "human", "carparts", "ccp")
MAX_WIDTH, MAX_HEIGHT = 72, 96
MIN_SIDE = 36
ALIKE_HUE, ALIKE_GAIN = 8, 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """RGB uint8 [H, W, 3] and which of its pixels are the object, bool [H, W]."""

    image_hwc: NDArray[np.uint8]
    mask_hw: NDArray[np.bool_]


def pick_cutout(stills: Path, class_name: str, random: np.random.Generator) -> Cutout:
    """A random object of a class, at most `MAX_WIDTH` x `MAX_HEIGHT` pixels.

    Raises:
        TrackdError: The class has no pictures that serve.
    """
    photos = sorted((stills / class_name).glob("*.jpg"))
    for index in random.permutation(len(photos)):
        cutout = _read_cutout(photos[index])
        if cutout is not None:
            return cutout
    raise TrackdError(f"no usable stills in {stills / class_name}", "expected NAME.jpg, NAME.0.png")


def _read_cutout(photo: Path) -> Cutout | None:
    """The largest piece of the object on a photo; None where it is too small or has no mask."""
    values_hw = cv2.imread(str(photo.with_suffix(".0.png")), cv2.IMREAD_GRAYSCALE)
    if values_hw is None or not values_hw.any():
        return None
    image_hwc = read_rgb(photo)
    _, labels_hw, stats, _ = cv2.connectedComponentsWithStats((values_hw > 0).astype(np.uint8))
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    x, y, width, height, _ = stats[largest].tolist()
    scale = min(MAX_WIDTH / width, MAX_HEIGHT / height, 1.0)
    size = (round(width * scale), round(height * scale))
    if min(size) < MIN_SIDE:
        return None
    part = (slice(y, y + height), slice(x, x + width))
    mask_hw = (labels_hw[part] == largest).astype(np.float32)
    return Cutout(
        cv2.resize(image_hwc[part], size, interpolation=cv2.INTER_AREA).astype(np.uint8),
        cv2.resize(mask_hw, size, interpolation=cv2.INTER_AREA) > 0.5,
    )


def mirrored_twin(cutout: Cutout) -> Cutout:
    """The same object seen from the other side, slightly darker and of a slightly other hue."""
    hsv_hwc = cv2.cvtColor(cutout.image_hwc[:, ::-1].copy(), cv2.COLOR_RGB2HSV)
    hsv_hwc[..., 0] = (hsv_hwc[..., 0].astype(int) + ALIKE_HUE) % 180
    hsv_hwc[..., 2] = (hsv_hwc[..., 2] * ALIKE_GAIN).astype(np.uint8)
    image_hwc = cv2.cvtColor(hsv_hwc, cv2.COLOR_HSV2RGB).astype(np.uint8)
    return replace(cutout, image_hwc=image_hwc, mask_hw=cutout.mask_hw[:, ::-1].copy())


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A picture as RGB uint8 [H, W, 3].

    Raises:
        TrackdError: It cannot be read.
    """
    bgr_hwc = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr_hwc is None:
        raise TrackdError(f"cannot read {path}", "replace the file")
    return cv2.cvtColor(bgr_hwc, cv2.COLOR_BGR2RGB).astype(np.uint8)
