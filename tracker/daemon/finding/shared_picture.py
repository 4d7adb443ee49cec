"""Memory with one picture, which two processes share by an open file without a name."""

import mmap
import os
import tempfile

import numpy as np
from numpy.typing import NDArray


class SharedPicture:
    """Room for one RGB picture at a time; it grows to the largest.

    The two sides take turns: nothing is written while the other may read.

    Attributes:
        descriptor: Of the file; the other process makes its `SharedPicture` of it.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Map what another process made, or make it."""
        self.descriptor = _unnamed_file() if descriptor is None else descriptor
        self._memory: mmap.mmap | None = None

    def write(self, image_hwc: NDArray[np.uint8]) -> None:
        """Put a picture, uint8 [H, W, 3], in place of the one before."""
        if os.fstat(self.descriptor).st_size < image_hwc.nbytes:
            os.ftruncate(self.descriptor, image_hwc.nbytes)
        np.copyto(self._view(image_hwc.shape[0], image_hwc.shape[1]), image_hwc)

    def read(self, height: int, width: int) -> NDArray[np.uint8]:
        """A copy of the picture."""
        return self._view(height, width).copy()

    def close(self) -> None:
        """Give the memory back."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        os.close(self.descriptor)

    def _view(self, height: int, width: int) -> NDArray[np.uint8]:
        size = height * width * 3
        if self._memory is None or len(self._memory) < size:
            self._memory = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
        return np.frombuffer(self._memory, np.uint8, size).reshape(height, width, 3)


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("trackd-picture")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
