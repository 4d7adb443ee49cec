"""A short video with a true mask on every frame, held in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streams.sources.registry import open_source
from tools.evaluate.dataset import find_sequences


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """Frames and truth.

    Attributes:
        group: What it is averaged with, such as "davis-dev".
        name: Its own name within the group.
        images_hwc: RGB uint8 [H, W, 3], one per frame.
        truths_hw: The visible part of the object, bool [H, W]; empty where it is absent.
    """

    group: str
    name: str
    images_hwc: tuple[NDArray[np.uint8], ...]
    truths_hw: tuple[NDArray[np.bool_], ...]


def davis_videos(root: Path, max_frames: int | None) -> Iterator[Video]:
    """The sequences of a DAVIS-layout folder, named after it, up to `max_frames` frames of each.

    Raises:
        TrackdError: The folder is not of that layout, or an annotation cannot be read.
        StreamError: A picture cannot be read.
    """
    for sequence in find_sequences(root):
        with open_source(str(sequence.frames_dir)) as source:
            images_hwc = tuple(frame.image for frame in islice(source, max_frames))
        truths_hw = tuple(sequence.mask(index) for index in range(len(images_hwc)))
        yield Video(root.name, sequence.name, images_hwc, truths_hw)
