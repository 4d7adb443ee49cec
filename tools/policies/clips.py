"""Makes clips in which an object hides, leaves or meets its like, with exact truth.

A cut-out moves over a photo that pans slowly. Every clip follows from its seed alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.policies.cutouts import CLASSES, Cutout, mirrored_twin, pick_cutout, read_rgb
from tools.policies.video import Video
from tracker.errors import TrackdError

GROUPS = ("hiding", "leaving", "lookalike")
WIDTH, HEIGHT, FRAMES = 384, 256, 40
PAN_PX = 40
ABSENT_FRAMES = (8, 12)  # the fewest and the most wholly hidden or gone
BLUR_SIGMA_PX = 0.7  # of the whole picture, so that no seam gives the cut-out away


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Cut-out in front of the ground on one frame, and its upper left corner."""

    cutout: Cutout
    x: int
    y: int


Script = list[list[Placed]]  # for each frame: the object, then what is in front of it


def synthetic_videos(stills: Path, per_kind: int) -> Iterator[Video]:
    """`per_kind` clips each of an object that hides, leaves, and meets its like.

    Raises:
        TrackdError: The folder lacks stills.
    """
    for kind, group in enumerate(GROUPS):
        for seed in range(per_kind):
            random = np.random.default_rng([kind, seed])
            class_name = CLASSES[seed // 2 % len(CLASSES)]
            ground_hwc = _ground(stills, random)
            script = _script(stills, group, class_name, seed % 2 == 1, random)
            yield _render(group, f"{seed:02d}-{class_name}", ground_hwc, script)


def _script(
    stills: Path, group: str, class_name: str, odd: bool, random: np.random.Generator
) -> Script:
    """Script of a clip: who stands where; `odd` clips are another variety of their group."""
    thing = pick_cutout(stills, class_name, random)
    y = int(random.integers(20, HEIGHT - thing.mask_hw.shape[0] - 20))
    absent = int(random.integers(ABSENT_FRAMES[0], ABSENT_FRAMES[1] + 1))
    match group:
        case "hiding":
            return hiding(thing, y, absent, _ground(stills, random))
        case "leaving":
            return leaving(thing, y, absent, at_right=odd)
        case _:
            other = pick_cutout(stills, class_name, random) if odd else mirrored_twin(thing)
            return lookalike(thing, other, y)


def hiding(thing: Cutout, y: int, hidden: int, wall_hwc: NDArray[np.uint8]) -> Script:
    """The object walks behind a wall, stays wholly hidden for `hidden` frames, and comes out."""
    start, speed, first_hidden = 6, 6, 14
    left, width = start + speed * first_hidden, thing.mask_hw.shape[1] + speed * (hidden - 1)
    wall = Cutout(wall_hwc[:HEIGHT, :width], np.ones((HEIGHT, width), np.bool_))
    return [
        [Placed(thing, start + speed * t, y + _bob(t)), Placed(wall, left, 0)]
        for t in range(FRAMES)
    ]


def leaving(thing: Cutout, y: int, gone: int, *, at_right: bool) -> Script:
    """The object leaves at the left for `gone` frames and returns there, or at the right."""
    width, speed, first_gone = thing.mask_hw.shape[1], 9, 15
    back = first_gone + gone
    script: Script = []
    for t in range(FRAMES):
        inside = speed * max(0, first_gone - t, t - back + 1)
        x = WIDTH - inside if at_right and t >= back else inside - width
        script.append([Placed(thing, x, y + _bob(t))])
    return script


def lookalike(thing: Cutout, other: Cutout, y: int) -> Script:
    """Another passes in front of the object, the other way and faster."""
    return [
        [Placed(thing, 120 + t, y + _bob(t)), Placed(other, WIDTH - 11 * t, y + 14 - _bob(t))]
        for t in range(FRAMES)
    ]


def _render(group: str, name: str, ground_hwc: NDArray[np.uint8], script: Script) -> Video:
    images_hwc, truths_hw = [], []
    for t, placed in enumerate(script):
        pan = PAN_PX * t // FRAMES
        image_hwc = ground_hwc[:HEIGHT, pan : pan + WIDTH].copy()
        truth_hw = _paste(image_hwc, placed[0])
        for in_front in placed[1:]:
            truth_hw &= ~_paste(image_hwc, in_front)
        images_hwc.append(cv2.GaussianBlur(image_hwc, (0, 0), BLUR_SIGMA_PX).astype(np.uint8))
        truths_hw.append(truth_hw)
    return Video(group, name, tuple(images_hwc), tuple(truths_hw))


def _paste(image_hwc: NDArray[np.uint8], placed: Placed) -> NDArray[np.bool_]:
    """Draw a cut-out in place; return the pixels of the frame that it covers."""
    covered_hw = np.zeros(image_hwc.shape[:2], np.bool_)
    height, width = placed.cutout.mask_hw.shape
    top, left = max(0, placed.y), max(0, placed.x)
    bottom, right = min(HEIGHT, placed.y + height), min(WIDTH, placed.x + width)
    if top >= bottom or left >= right:
        return covered_hw
    to = (slice(top, bottom), slice(left, right))
    of = (slice(top - placed.y, bottom - placed.y), slice(left - placed.x, right - placed.x))
    covered_hw[to] = placed.cutout.mask_hw[of]
    image_hwc[covered_hw] = placed.cutout.image_hwc[of][placed.cutout.mask_hw[of]]
    return covered_hw


def _ground(stills: Path, random: np.random.Generator) -> NDArray[np.uint8]:
    """A random photo that fills the frame and the way that it pans."""
    photos = sorted((stills / "backgrounds").glob("*.jpg"))
    if not photos:
        raise TrackdError(f"no stills in {stills / 'backgrounds'}", "expected NAME.jpg")
    photo_hwc = read_rgb(photos[int(random.integers(len(photos)))])
    height, width = photo_hwc.shape[:2]
    scale = max((WIDTH + PAN_PX) / width, HEIGHT / height)
    size = (math.ceil(width * scale), math.ceil(height * scale))
    return cv2.resize(photo_hwc, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _bob(t: int) -> int:
    return round(5 * math.sin(t / 3))
