"""Objects cut out of held-out videos and stills, which move in front of other pictures."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.evaluate.dataset import find_sequences
from tools.policies.cutouts import Cutout, read_rgb
from tracker.errors import TrackdError

#: The videos of davis-train that pico's weights were not trained on since their second step.
HELD_OUT = ("breakdance-flare", "car-turn", "mallard-fly", "scooter-gray")
#: Kinds of `stills/caltech101-cut` with several photographed objects; pico saw none of them.
KINDS = (
    *("butterfly", "dragonfly", "grand_piano", "motorbikes", "nautilus", "revolver", "rooster"),
    *("soccer_ball", "starfish", "sunflower", "umbrella", "watch"),
)
MIN_SIDE_PX, MAX_SIDE_PX = 40, 92
MIN_FILL = 0.25  # of its box that an object fills, at least


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """Cut-outs of one object, shown one a frame to and fro; one alone for a still."""

    poses: tuple[Cutout, ...]

    def at(self, t: int) -> Cutout:
        """The cut-out of frame `t`."""
        last = len(self.poses) - 1
        return self.poses[last - abs(last - t % (2 * last))] if last else self.poses[0]

    def changed(
        self, scale: float, gain_rgb: tuple[float, float, float], mirrored: bool
    ) -> "Sprite":
        """The same object, larger, in another light, or seen from the other side."""
        return Sprite(tuple(_changed(pose, scale, gain_rgb, mirrored) for pose in self.poses))


def video_sprite(davis: Path, name: str, start: int, frames: int) -> Sprite:
    """The object of a held-out video on some of its frames, as large as `MAX_SIDE_PX` allows.

    Raises:
        TrackdError: The video is not there or cannot be read.
    """
    (sequence,) = find_sequences(davis, (name,))
    pictures = sorted(sequence.frames_dir.glob("*.jpg"))
    start = min(start, len(pictures) - frames)
    masks = [sequence.mask(start + t) for t in range(frames)]
    side = max(max(np.ptp(axis) + 1 for axis in np.nonzero(mask_hw)) for mask_hw in masks)
    poses = [
        _cut(read_rgb(picture), mask_hw, MAX_SIDE_PX / side)
        for picture, mask_hw in zip(pictures[start:], masks, strict=False)
    ]
    return Sprite(tuple(poses))


def kind_sprites(
    stills: Path, kind: str, half: int, random: np.random.Generator
) -> tuple[Sprite, Sprite]:
    """Two objects of one kind, each on a still: of every other one, from the first or second on.

    Raises:
        TrackdError: There are no two stills that serve.
    """
    photos = sorted((stills / "caltech101-cut").glob(f"{kind}_*.jpg"))[half::2]
    found: list[Sprite] = []
    for index in random.permutation(len(photos)):
        sprite = _still(photos[index])
        if sprite is not None:
            found.append(sprite)
        if len(found) == 2:
            return found[0], found[1]
    raise TrackdError(
        f"no two usable stills of {kind} in {stills / 'caltech101-cut'}",
        "expected NAME.jpg, NAME.0.png",
    )


def _still(photo: Path) -> Sprite | None:
    """The object of a still; None where it has no mask or is too thin."""
    values_hw = cv2.imread(str(photo.with_suffix(".0.png")), cv2.IMREAD_GRAYSCALE)
    if values_hw is None or not values_hw.any():
        return None
    mask_hw = values_hw > 0
    rows, columns = np.nonzero(mask_hw)
    side = max(np.ptp(rows), np.ptp(columns)) + 1
    cutout = _cut(read_rgb(photo), mask_hw, MAX_SIDE_PX / side)
    too_thin = min(cutout.mask_hw.shape) < MIN_SIDE_PX or cutout.mask_hw.mean() < MIN_FILL
    return None if too_thin else Sprite((cutout,))


def _cut(image_hwc: NDArray[np.uint8], mask_hw: NDArray[np.bool_], scale: float) -> Cutout:
    rows, columns = np.nonzero(mask_hw)
    part = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    return _resized(Cutout(image_hwc[part], mask_hw[part]), scale)


def _changed(
    cutout: Cutout, scale: float, gain_rgb: tuple[float, float, float], mirrored: bool
) -> Cutout:
    cutout = _resized(cutout, scale)
    gains_c = np.array(gain_rgb, np.float32)
    image_hwc = np.clip(cutout.image_hwc.astype(np.float32) * gains_c, 0, 255).astype(np.uint8)
    flip = slice(None, None, -1 if mirrored else 1)
    return Cutout(image_hwc[:, flip].copy(), cutout.mask_hw[:, flip].copy())


def _resized(cutout: Cutout, scale: float) -> Cutout:
    height, width = cutout.mask_hw.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    mask_hw = cv2.resize(cutout.mask_hw.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    image_hwc = cv2.resize(cutout.image_hwc, size, interpolation=cv2.INTER_AREA)
    return Cutout(image_hwc.astype(np.uint8), mask_hw > 0.5)
