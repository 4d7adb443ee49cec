"""Scenes from real videos: some of their frames, seen through a random window.

Now and then the object of another video moves in front, as it did there.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tools.policies.cutouts import Cutout
from tools.train.motion import Floats
from tools.train.pack_format import VideoFrame
from tools.train.packed import Pack
from tools.train.scene import Layer, Picture
from tools.train.synthetic_clips import Scene, moving_thing, random_others
from tracker.engine import mask_box

MAX_STRIDE = 6
IRREGULAR_SHARE = 0.1
WHOLE_FRAME_SHARE = 0.4
LEAST_WINDOW = 0.5  # of the frame's height
TURN = 0.2
OTHERS_SHARE = 0.25
VISITOR_SHARE = 0.35


def random_scene(
    pack: Pack,
    videos: Sequence[Sequence[VideoFrame]],
    frames: int,
    side: int,
    random: np.random.Generator,
) -> Scene:
    """Frames of a random video, with something made in front of them now and then."""
    pictures, masks = _random_clip(pack, videos, frames, random)
    inverse_23 = _window(masks[0], side, random)
    inverse_t23 = np.broadcast_to(inverse_23, (frames, 2, 3))
    ground = Layer(pictures, inverse_t23, regions=[masks])
    layers = []
    if random.random() < VISITOR_SHARE:
        layers += _visitor(*_random_clip(pack, videos, frames, random), side, random)
    if random.random() < OTHERS_SHARE:
        layers += random_others(pack, frames, side, random, most=1)
    return ground, layers


def _random_clip(
    pack: Pack,
    videos: Sequence[Sequence[VideoFrame]],
    frames: int,
    random: np.random.Generator,
) -> tuple[list[Picture], list[Picture]]:
    """Some frames of a random video, and their masks, 0 and 255."""
    video = videos[int(random.integers(len(videos)))]
    chosen = [video[i] for i in _frame_numbers(len(video), frames, random)]
    pictures = [pack.image(frame.image) for frame in chosen]
    masks = [(pack.mask(frame.mask) > 0).astype(np.uint8) * 255 for frame in chosen]
    return pictures, masks


def _visitor(
    pictures: list[Picture], masks: list[Picture], side: int, random: np.random.Generator
) -> list[Layer]:
    """The object of a clip, cut out; none where it is not seen."""
    box = mask_box(np.maximum.reduce(masks) > 0)
    if box is None:
        return []
    x0, y0, x1, y1 = box
    part = (slice(y0, y1), slice(x0, x1))
    pairs = zip(pictures, masks, strict=True)
    return [moving_thing([Cutout(p[part], m[part] > 0) for p, m in pairs], side, random)]


def _frame_numbers(length: int, frames: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Frames of a video that make the clip, forwards or backwards; a short video repeats some."""
    if random.random() < IRREGULAR_SHARE and length >= frames:
        numbers = np.sort(random.choice(length, frames, replace=False))
    else:
        most = max(1, (length - 1) // (frames - 1))
        stride = int(random.integers(1, min(MAX_STRIDE, most) + 1))
        start = random.integers(max(1, length - stride * (frames - 1)))
        numbers = np.minimum(start + stride * np.arange(frames), length - 1)
    return numbers[::-1] if random.random() < 0.5 else numbers


def _window(first_mask: Picture, side: int, random: np.random.Generator) -> Floats:
    """From canvas pixels to frame pixels [2, 3]: the whole frame squashed, or a part of it."""
    height, width = first_mask.shape
    if random.random() < WHOLE_FRAME_SHARE:
        return np.array([[width / side, 0, 0], [0, height / side, 0]])
    tall = height * random.uniform(LEAST_WINDOW, 1.0)
    wide = min(width, tall * random.uniform(0.9, width / height))
    rows, columns = np.nonzero(first_mask)
    middle = np.array([width / 2, height / 2])
    if rows.size:  # near the object
        pick = random.integers(rows.size)
        middle = np.array([columns[pick], rows[pick]], np.float64)
    middle += random.uniform(-0.3, 0.3, 2) * (wide, tall)
    half = np.array([wide, tall]) / 2
    middle = np.clip(middle, half, np.array([width, height]) - half)
    angle = random.uniform(-TURN, TURN)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([wide / side, tall / side])
    offset = middle - matrix @ np.array([side / 2, side / 2])
    return np.concatenate([matrix, offset[:, None]], axis=1)
