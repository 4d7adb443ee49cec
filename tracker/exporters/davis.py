"""Masks in the layout of DAVIS: one palette PNG per frame."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streams.frame import Frame
from streams.sources.images import stem_of
from tracker.errors import OutputError
from tracker.exporters.base import PART_NAME
from tracker.exporters.palette import davis_palette
from tracker.types import TrackResult


def label_map(result: TrackResult, height: int, width: int) -> NDArray[np.uint8]:
    """Ids per pixel, uint8 [H, W], 0 where there is no object.

    Where masks overlap, the object with the higher score is on top; with equal scores the one
    with the better predicted mask, then the one with the lower id.
    """
    ids_hw = np.zeros((height, width), np.uint8)
    for item in sorted(result.objects, key=lambda item: (item.score, item.iou, -item.id)):
        ids_hw[item.mask_hw] = item.id
    return ids_hw


class DavisWriter:
    """Writes a PNG per frame; pixel value = object id.

    The mask of a picture has the picture's name; those of a video are named by frame number,
    `00000.png`, `00001.png`, ...
    """

    def __init__(self, folder: Path) -> None:
        """Write into `folder`, which is made when the first frame comes."""
        self._folder = folder
        self._palette = davis_palette()
        self._part = folder / PART_NAME

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Write the masks of one frame."""
        height, width = frame.image.shape[:2]
        image = Image.fromarray(label_map(result, height, width), mode="P")
        image.putpalette(self._palette)
        stem = f"{frame.seq:05d}" if frame.name is None else stem_of(frame.name)
        target = self._folder / f"{stem}.png"
        try:
            self._folder.mkdir(exist_ok=True)
            image.save(self._part, format="PNG")
            self._part.replace(target)
        except OSError as error:
            self._part.unlink(missing_ok=True)
            raise OutputError(f"cannot write {target}: {error.strerror or error}") from error

    def close(self) -> None:
        """Every frame is a whole file already."""
