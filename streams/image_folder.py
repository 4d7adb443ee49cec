"""Frames from a folder of images, or from the files that match a printf pattern."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from streams.address import Address, SourceKind
from streams.errors import SourceNotFound, SourceUnreadable, SourceUsageError
from streams.foreign import translated
from streams.frame import Frame
from streams.info import SourceInfo, SourceStats

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_COUNTER = re.compile(r"%0?\d*d")


def find_images(path: Path) -> tuple[Path, ...] | None:
    """Return the images of a folder or of a printf pattern; None where `path` is neither.

    A folder gives its images in natural order (`9.jpg` before `10.jpg`), hidden files left out.
    A pattern (`DIR/%05d.jpg`) gives the files that match it, by number; numbers may be missing.

    Raises:
        SourceNotFound: The folder holds no images, or nothing matches the pattern.
        SourceUsageError: The pattern has more than one counter.
        OSError: The folder cannot be read.
    """
    if path.is_dir():
        return _folder_images(path)
    if _COUNTER.search(path.name) and not path.exists():
        return _pattern_images(path)
    return None


def _folder_images(folder: Path) -> tuple[Path, ...]:
    names = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    if not names:
        raise SourceNotFound(f"the folder is empty: {folder}", "check the path")
    images = [path for path in names if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not images:
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise SourceNotFound(f"no images in the folder {folder}", f"expected {kinds}")
    return tuple(sorted(images, key=lambda path: (_natural_key(path.name), path.name)))


def _natural_key(name: str) -> list[str | int]:
    parts = re.split(r"(\d+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _pattern_images(pattern: Path) -> tuple[Path, ...]:
    before, *after = _COUNTER.split(pattern.name)
    if len(after) != 1:
        raise SourceUsageError(f"more than one counter in {pattern}", "give one, as in %05d.jpg")
    counter = pattern.name[len(before) : len(pattern.name) - len(after[0])]
    expected = re.compile(rf"{re.escape(before)}(\d+){re.escape(after[0])}")
    numbered: list[tuple[int, Path]] = []
    for path in pattern.parent.iterdir() if pattern.parent.is_dir() else ():
        found = expected.fullmatch(path.name)
        if found and counter % int(found.group(1)) == found.group(1):
            numbered.append((int(found.group(1)), path))
    if not numbered:
        raise SourceNotFound(f"no file matches {pattern}", "check the folder and the counter")
    return tuple(path for _, path in sorted(numbered))


class ImageFolderSource:
    """Frames from image files, one each, turned upright as their EXIF data says.

    The files have no clock: `pts` and `time_base` are None. A file that is no image is counted
    in `stats.corrupt_packets` and skipped.

    OpenCV decodes: to JPEG it gives the same pixels as the readers that SAM 2 was trained with,
    which FFmpeg's own decoder does not.

    Raises:
        StreamError: No file can be decoded; or, while iterating too, one cannot be read.
    """

    def __init__(self, address: Address, images: tuple[Path, ...], *, stream: str) -> None:
        self.stats = SourceStats()
        self._images = images
        self._stream = stream
        self._closed = False
        first = next((image for image in map(_decode, images) if image is not None), None)
        if first is None:
            raise SourceUnreadable(
                f"none of the {len(images)} images of {address.shown} can be decoded",
                "check that they are images and not empty",
            )
        height, width = first.shape[:2]
        self.info = SourceInfo(address.shown, width, height, None, len(images), live=False)
        self._frames = self._run()

    def _run(self) -> Iterator[Frame]:
        for path in self._images:
            if self._closed:
                return
            started_s = time.perf_counter()
            captured_ns = time.time_ns()
            image = _decode(path)
            self.stats.decode_s += time.perf_counter() - started_s
            if image is None:
                self.stats.corrupt_packets += 1
                continue
            seq = self.stats.frames
            self.stats.frames += 1
            yield Frame(self._stream, seq, None, None, captured_ns, image)

    def __iter__(self) -> Iterator[Frame]:
        """Return the one iterator over the frames; a second call goes on where it stands."""
        return self._frames

    def close(self) -> None:
        """Yield no more frames."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _decode(path: Path) -> NDArray[np.uint8] | None:
    """Return an image file as uint8 RGB (height, width, 3); None where it is no image.

    Raises:
        StreamError: The file cannot be read from the disk.
    """
    with translated(Address(SourceKind.PATH, str(path), str(path))):
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
    try:
        image_bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except cv2.error:  # of more pixels than it allows
        return None
    if image_bgr is None:
        return None
    return np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), np.uint8)
