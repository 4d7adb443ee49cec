"""Clips in which an object leaves and returns, alone or past its like, or is crossed by its like.

An object of a held-out video, or a still that pico never saw, moves over a held-out video or a
photo that pans. Every clip follows from its group and seed alone, with exact truth of the object
and of the lookalike.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.bench.refind.sprites import HELD_OUT, KINDS, Sprite, kind_sprites, video_sprite
from tools.evaluate.dataset import find_sequences
from tools.policies.cutouts import Cutout, read_rgb
from tracker.errors import TrackdError

WIDTH, HEIGHT, FPS = 384, 256, 10
SEEN, AFTER = 6, 13  # frames before the object leaves, and from when it begins to return
ABSENT = (17, 22)  # frames out of the picture, at least and at most
CROSSING_FRAMES = 22
POSES = 24  # frames of a video that an object's poses are of
PAN_PX = 40
SPEED_PX = 32  # a frame, while it leaves and returns
BLUR_SIGMA_PX = 0.7  # of the whole picture, so that no seam gives a cut-out away
TUNING_SEED = 1000  # from which on clips show other stills than those before
TWIN_GAINS = ((1.3, 0.95, 0.65), (0.65, 0.95, 1.3), (0.8, 1.25, 0.8))  # of a lookalike, RGB


#: Left and top of a sprite on frame t, by its width in pixels; None where it is not there.
Place = Callable[[int, int], tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class Actor:
    """A sprite of each frame, and where it is."""

    sprite_at: Callable[[int], Sprite]
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Frames and truth.

    Attributes:
        group: "exit", "decoy" or "crossing".
        name: Its seed and the object's kind or video.
        images_hwc: RGB uint8 [H, W, 3], one per frame.
        truths_hw: Visible part of the object, bool [H, W].
        decoys_hw: Visible part of its lookalike, likewise.
        returns: First frame on which it may be back; 0 where it does not leave.
    """

    group: str
    name: str
    images_hwc: tuple[NDArray[np.uint8], ...]
    truths_hw: tuple[NDArray[np.bool_], ...]
    decoys_hw: tuple[NDArray[np.bool_], ...]
    returns: int = 0


GROUPS = ("exit", "decoy", "crossing")


def make_clip(data: Path, group: str, seed: int) -> Clip:
    """The clip of a group and a seed.

    Raises:
        TrackdError: The folder lacks stills or videos.
    """
    random = np.random.default_rng([GROUPS.index(group), seed])
    name, thing, decoy = _cast(data, seed, random)
    grounds = _grounds(data, name, seed, random)
    if group == "crossing":
        return _crossing(f"{seed:02d}-{name}", thing, decoy, grounds, random)
    return _absence(
        f"{seed:02d}-{name}", thing, decoy if group == "decoy" else None, grounds, random
    )


def _cast(data: Path, seed: int, random: np.random.Generator) -> tuple[str, Sprite, Sprite]:
    """Object and lookalike: of a video and its twin in another light, or two of a kind."""
    gain_rgb = TWIN_GAINS[seed % len(TWIN_GAINS)]
    if seed % 2:
        kind = KINDS[seed // 2 % len(KINDS)]
        thing, other = kind_sprites(data / "stills", kind, _half(seed), random)
        return kind, thing, other
    name = HELD_OUT[seed // 2 % len(HELD_OUT)]
    start = int(random.integers(0, 45))
    thing = video_sprite(data / "davis-train", name, start, POSES)
    return name, thing, thing.changed(1.0, gain_rgb, mirrored=True)


def _absence(
    name: str, thing: Sprite, decoy: Sprite | None, grounds: "Grounds", random: np.random.Generator
) -> Clip:
    """The object leaves, is gone, and returns changed; the lookalike comes meanwhile and stays."""
    gone = int(random.integers(ABSENT[0], ABSENT[1] + 1))
    top = int(random.integers(16, HEIGHT - 120))
    leaves_left, returns_left = bool(random.integers(2)), bool(random.integers(2))
    gain, scale = float(random.uniform(0.8, 1.2)), float(random.uniform(0.8, 1.25))
    returned = thing.changed(scale, (gain, gain, gain), mirrored=bool(random.integers(2)))
    back = SEEN + math.ceil((WIDTH // 2) / SPEED_PX) + gone

    def place(t: int, width: int) -> tuple[int, int]:
        if t < back:
            away = max(0, t - SEEN) * SPEED_PX
            middle = (WIDTH - width) // 2
            return (middle - away if leaves_left else middle + away), top + _bob(t)
        inside = min((t - back + 1) * SPEED_PX, (WIDTH + width) // 2)
        return _entering(inside, width, at_left=returns_left), top + _bob(t)

    def decoy_place(t: int, width: int) -> tuple[int, int] | None:
        inside = min((t - back + gone - 3) * SPEED_PX, WIDTH // 3)
        y = (HEIGHT - 110 if top < 80 else 10) - _bob(t)
        return None if inside <= 0 else (_entering(inside, width, at_left=not returns_left), y)

    actors = [Actor(lambda t: thing if t < back else returned, place)]
    if decoy is None:
        return _render("exit", name, actors, grounds, back + AFTER, back)
    actors.append(Actor(lambda _: decoy, decoy_place))
    return _render("decoy", name, actors, grounds, back + AFTER, back)


def _entering(inside: int, width: int, *, at_left: bool) -> int:
    """Left edge of what has come in by so many pixels."""
    return inside - width if at_left else WIDTH - inside


def _crossing(
    name: str, thing: Sprite, decoy: Sprite, grounds: "Grounds", random: np.random.Generator
) -> Clip:
    """The lookalike passes in front of the object and stays beside it."""
    top = int(random.integers(20, HEIGHT - 120))
    lag = int(random.integers(1, 4))
    speed = int(random.integers(22, 30))

    def place(t: int, width: int) -> tuple[int, int]:
        return WIDTH // 2 - width // 2 + t - 15, top + _bob(t)

    def decoy_place(t: int, width: int) -> tuple[int, int]:
        return max(WIDTH - speed * (t - lag), 10), top + 8 - _bob(t)

    actors = [Actor(lambda _: thing, place), Actor(lambda _: decoy, decoy_place)]
    return _render("crossing", name, actors, grounds, CROSSING_FRAMES)


def _render(
    group: str,
    name: str,
    actors: Sequence[Actor],
    grounds: "Grounds",
    frames: int,
    returns: int = 0,
) -> Clip:
    """Draw the actors, the object first, on each frame's ground."""
    images, truths, decoys = [], [], []
    for t in range(frames):
        image_hwc = grounds.at(t)
        truth_hw, decoy_hw = np.zeros((2, HEIGHT, WIDTH), np.bool_)
        for number, actor in enumerate(actors):
            cutout = actor.sprite_at(t).at(t)
            covered_hw = paste(image_hwc, cutout, actor.place(t, cutout.mask_hw.shape[1]))
            if number:
                truth_hw, decoy_hw = truth_hw & ~covered_hw, covered_hw
            else:
                truth_hw = covered_hw
        truths.append(truth_hw)
        decoys.append(decoy_hw)
        images.append(cv2.GaussianBlur(image_hwc, (0, 0), BLUR_SIGMA_PX).astype(np.uint8))
    return Clip(group, name, tuple(images), tuple(truths), tuple(decoys), returns)


def paste(
    image_hwc: NDArray[np.uint8], cutout: Cutout, at: tuple[int, int] | None
) -> NDArray[np.bool_]:
    """Draw a cut-out with its corner at x, y; return the pixels that it covers."""
    covered_hw = np.zeros(image_hwc.shape[:2], np.bool_)
    if at is None:
        return covered_hw
    x, y = at
    height, width = cutout.mask_hw.shape
    top, left = max(0, y), max(0, x)
    bottom, right = min(HEIGHT, y + height), min(WIDTH, x + width)
    if top >= bottom or left >= right:
        return covered_hw
    to = (slice(top, bottom), slice(left, right))
    of = (slice(top - y, bottom - y), slice(left - x, right - x))
    covered_hw[to] = cutout.mask_hw[of]
    image_hwc[covered_hw] = cutout.image_hwc[of][cutout.mask_hw[of]]
    return covered_hw


class Grounds:
    """What is behind: a photo that pans slowly, or a video to and fro."""

    def __init__(self, pictures: list[NDArray[np.uint8]]) -> None:
        self._pictures = pictures

    def at(self, t: int) -> NDArray[np.uint8]:
        """The ground of frame t, to be drawn on."""
        if len(self._pictures) > 1:
            last = len(self._pictures) - 1
            return self._pictures[last - abs(last - t % (2 * last))][:HEIGHT, :WIDTH].copy()
        pan = PAN_PX // 2 + round(PAN_PX / 2 * math.sin(t / 8))
        return self._pictures[0][:HEIGHT, pan : pan + WIDTH].copy()


def _grounds(data: Path, name: str, seed: int, random: np.random.Generator) -> Grounds:
    """The ground of a clip: every third a held-out video other than the object's."""
    if seed % 3 == 0:
        others = [other for other in HELD_OUT if other != name]
        (sequence,) = find_sequences(data / "davis-train", (others[seed // 3 % len(others)],))
        return Grounds([_filling(read_rgb(p)) for p in sorted(sequence.frames_dir.glob("*.jpg"))])
    photos = sorted((data / "stills" / "backgrounds").glob("*.jpg"))[_half(seed) :: 2]
    if not photos:
        raise TrackdError(f"no stills in {data / 'stills' / 'backgrounds'}", "expected NAME.jpg")
    return Grounds([_filling(read_rgb(photos[int(random.integers(len(photos)))]))])


def _filling(picture_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture that covers the frame and the way that it pans."""
    height, width = picture_hwc.shape[:2]
    scale = max((WIDTH + PAN_PX) / width, HEIGHT / height)
    size = (math.ceil(width * scale), math.ceil(height * scale))
    return cv2.resize(picture_hwc, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _half(seed: int) -> int:
    """Which half of the stills a clip is made of."""
    return int(seed >= TUNING_SEED)


def _bob(t: int) -> int:
    return round(5 * math.sin(t / 2))
