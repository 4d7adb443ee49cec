"""The frames that are tracked, and the objects that are shown on the first."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streams.sources.registry import open_source
from streams.video_writer import VideoWriter
from tools.demo import find_bunny_clip
from tracker.errors import UsageError

Images = NDArray[np.uint8]
Masks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Size:
    """Of a frame, in pixels."""

    width: int
    height: int


def parse_size(text: str) -> Size:
    """Read WIDTHxHEIGHT; a usage error for argparse where it is not."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(text)
    return Size(int(width), int(height))


def find_clip(path: Path | None) -> Path:
    """The clip that was asked for, or the demo's.

    Raises:
        UsageError: There is no such file.
        TrackdError: The demo's clip is not here.
    """
    if path is None:
        return find_bunny_clip()
    if not path.is_file():
        raise UsageError(f"there is no clip {path}", "give --clip FILE")
    return path


def frames_of(clip: Path, size: Size | None) -> Iterator[NDArray[np.uint8]]:
    """Yield the clip's frames, RGB uint8 [H, W, 3], scaled to `size` if there is one."""
    with open_source(str(clip)) as source:
        for frame in source:
            image_hwc = frame.image
            if size is not None and image_hwc.shape[:2] != (size.height, size.width):
                shape = (size.width, size.height)
                image_hwc = np.asarray(cv2.resize(image_hwc, shape, interpolation=cv2.INTER_AREA))
            yield np.ascontiguousarray(image_hwc, np.uint8)


def first_frames(clip: Path, count: int, size: Size | None) -> Images:
    """The first `count` frames, or all of a shorter clip, [n, H, W, 3].

    Raises:
        UsageError: The clip has no frame.
    """
    frames = list(islice(frames_of(clip, size), count))
    if not frames:
        raise UsageError(f"{clip} has no frame", "give another --clip")
    return np.stack(frames)


def square_masks(count: int, height: int, width: int) -> Masks:
    """Masks of `count` objects on a grid, [n, H, W], so that each is something and stays."""
    side = max(4, int(np.ceil(np.sqrt(count))))
    masks_nhw = np.zeros((count, height, width), np.bool_)
    for i, mask_hw in enumerate(masks_nhw):
        y, x = (i // side) * height // side, (i % side) * width // side
        rows = slice(y + height // (4 * side), y + 4 * height // (5 * side))
        columns = slice(x + width // (4 * side), x + 4 * width // (5 * side))
        mask_hw[rows, columns] = True
    return masks_nhw


def write_scaled(clip: Path, video: Path, size: Size) -> Size:
    """Write the clip scaled, H.264 in MP4; return its size, which is even."""
    with open_source(str(clip)) as source:
        fps = source.info.fps or Fraction(25)
    even = Size(size.width // 2 * 2, size.height // 2 * 2)
    with VideoWriter(video, width=even.width, height=even.height, fps=fps) as writer:
        for index, image_hwc in enumerate(frames_of(clip, even)):
            writer.write(image_hwc, index, 1 / fps)
    return even
