"""Folders of several kinds of files, which take their name when they are complete."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streams.frame import Frame
from tracker.errors import OutputError
from tracker.types import TrackResult

_JPEG_QUALITY = 95


class DatasetWriter(ABC):
    """Writer of a folder that grows as `FOLDER.part` and is renamed when it is closed.

    A part that an interrupted run left behind is written afresh.

    Attributes:
        part: The folder while it grows.
        length: Frames written.
        size_hw: Height and width of the first frame.
    """

    def __init__(self, folder: Path) -> None:
        """Write to `folder`, which is missing or empty."""
        self.part = folder.with_name(folder.name + ".part")
        self.length = 0
        self.size_hw = (0, 0)
        self._folder = folder
        self._closed = False

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Add one frame."""
        with self._whole_or_nothing():
            if self.length == 0:
                shutil.rmtree(self.part, ignore_errors=True)
                self.part.mkdir()
                self.size_hw = (frame.image.shape[0], frame.image.shape[1])
                self._begin()
            self._record(frame, result)
        self.length += 1

    def close(self) -> None:
        """Complete the folder and give it its name."""
        if self.length == 0 or self._closed:
            return
        with self._whole_or_nothing():
            self._finish()
            self._closed = True
            with suppress(FileNotFoundError):
                self._folder.rmdir()
            self.part.rename(self._folder)

    @abstractmethod
    def _begin(self) -> None:
        """Make folders and open files, `size_hw` and `part` are known."""

    @abstractmethod
    def _record(self, frame: Frame, result: TrackResult) -> None:
        """Write what is to be written of one frame; `length` frames came before it."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what is known at the end only, and close files."""

    def _abandon(self) -> None:  # noqa: B027 - most hold nothing open
        """Close files after a failure."""

    @contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._closed = True
            with suppress(OSError):
                self._abandon()
            shutil.rmtree(self.part, ignore_errors=True)
            raise OutputError(f"cannot write {self._folder}: {error.strerror or error}") from error


def save_jpeg(path: Path, image_hwc: NDArray[np.uint8]) -> None:
    """Write an RGB picture [H, W, 3] as JPEG.

    Raises:
        OSError: It cannot be written.
    """
    picture_hwc = cv2.cvtColor(image_hwc, cv2.COLOR_RGB2BGR)
    coded, data = cv2.imencode(".jpg", picture_hwc, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not coded:
        raise OSError(None, "no JPEG holds a picture of this size", str(path))
    path.write_bytes(data.tobytes())
