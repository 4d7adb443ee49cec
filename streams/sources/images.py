"""Frames from a folder of images, from the files that match a printf pattern, or from one image."""

import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streams.access.bounded_file import read_at_most
from streams.access.files import OpenFile, open_any
from streams.closing import Closing
from streams.decode.ffmpeg_errors import translated
from streams.decode.image import (
    MAX_FILE_BYTES,
    SUFFIXES,
    SeveralPictures,
    TooLarge,
    decode_image,
    is_animation,
)
from streams.errors import SourceNotFound, SourceTooLarge, SourceUnreadable, SourceUsageError
from streams.frame import Frame
from streams.info import MAX_DAMAGED_NAMES, MAX_PIXELS, SourceInfo, SourceStats
from streams.sources.base import Address, SourceKind

_COUNTER = re.compile(r"%0?\d*d")
_HEAD_BYTES = 2**20  # of a file, in which an animation shows


def images_folder(path: Path) -> Path | None:
    """Return the folder of the images that `path` names; None where it names a video.

    A path is a pattern where its last part holds a counter, as in `DIR/%05d.jpg`, and nothing is
    there under this very name.
    """
    if path.is_dir():
        return path
    return path.parent if _is_pattern(path) or _is_still(path) else None


def find_images(path: Path, open_file: OpenFile = open_any) -> tuple[Path, ...] | None:
    """Return the images that `path` names, each of them a frame; None where it names a video.

    A folder gives its images in natural order (`9.jpg` before `10.jpg`), hidden files left out.
    A pattern (`DIR/%05d.jpg`) gives the files that match it, by number; numbers may be missing.
    An image file that is no animation is its own only image. Files are looked into with
    `open_file`.

    Raises:
        SourceNotFound: The folder holds no images, or nothing matches the pattern.
        SourceUsageError: The pattern has more than one counter.
        OSError: The folder cannot be read.
    """
    if path.is_dir():
        return _folder_images(path)
    if _is_pattern(path):
        return _pattern_images(path)
    return (path,) if _is_still(path, open_file) else None


def stem_of(name: str) -> str:
    """The name of an image file without its suffix; a number is no suffix, as in `frame.0001`."""
    stem, dot, suffix = name.rpartition(".")
    return name if not stem or not dot or suffix.isdecimal() else stem


def _is_pattern(path: Path) -> bool:
    return _COUNTER.search(path.name) is not None and not path.exists()


def _is_still(path: Path, open_file: OpenFile = open_any) -> bool:
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    with open_file(path) as file:
        return not is_animation(file.read(_HEAD_BYTES))


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


class ImageFolderSource(Closing):
    """Frames from image files, one each, turned upright as their EXIF data says.

    The files have no clock: `pts` and `time_base` are None. A file that is no image is counted
    in `stats.corrupt_packets` and skipped; its place in the listing, `seq`, stays empty.

    Raises:
        StreamError: No file can be decoded; or, while iterating too, one cannot be read, or holds
            several pictures.
    """

    def __init__(
        self,
        address: Address,
        images: tuple[Path, ...],
        *,
        stream: str,
        max_pixels: int = MAX_PIXELS,
        open_file: OpenFile = open_any,
    ) -> None:
        self.stats = SourceStats()
        self._images = images
        self._read = partial(read_image, open_file=open_file, max_pixels=max_pixels)
        self._stream = stream
        self._closed = False
        first = next((image for image in map(self._read, images) if image is not None), None)
        if first is None:
            raise SourceUnreadable(
                f"none of the {len(images)} images of {address.shown} can be decoded",
                "check that they are images and not empty",
            )
        height, width = first.shape[:2]
        self.info = SourceInfo(address.shown, width, height, None, len(images), live=False)
        self._frames = self._run()

    def _run(self) -> Iterator[Frame]:
        for seq, path in enumerate(self._images):
            if self._closed:
                return
            started_s = time.perf_counter()
            captured_ns = time.time_ns()
            image = self._read(path)
            self.stats.decode_s += time.perf_counter() - started_s
            if image is None:
                self._note_damaged(path.name)
                continue
            self.stats.frames += 1
            yield Frame(self._stream, seq, None, None, captured_ns, image, name=path.name)

    def picture(self, seq: int) -> Frame | None:
        """The frame of a number, whatever was read before; None where there is none or is damaged.

        Raises:
            StreamError: The file cannot be read, or holds several pictures.
        """
        if not 0 <= seq < len(self._images):
            return None
        path, captured_ns = self._images[seq], time.time_ns()
        image = self._read(path)
        if image is None:
            return None
        return Frame(self._stream, seq, None, None, captured_ns, image, name=path.name)

    def _note_damaged(self, name: str) -> None:
        self.stats.corrupt_packets += 1
        if len(self.stats.damaged_names) < MAX_DAMAGED_NAMES:
            self.stats.damaged_names.append(name)

    def __iter__(self) -> Iterator[Frame]:
        """Return the one iterator over the frames; a second call goes on where it stands."""
        return self._frames

    def close(self) -> None:
        """Yield no more frames."""
        self._closed = True


def read_image(
    path: Path, open_file: OpenFile = open_any, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8] | None:
    """Return an image file as uint8 RGB (height, width, 3); None where it cannot be decoded.

    Raises:
        StreamError: The file cannot be read from the disk, or holds several pictures, or one
            that is too large.
    """
    with translated(Address(SourceKind.PATH, str(path), str(path))):
        content = read_at_most(path, MAX_FILE_BYTES, open_file)
    try:
        return decode_image(content, max_pixels)
    except SeveralPictures as error:
        raise SourceUnreadable(
            f"{path} holds {error}, and an image file is one frame",
            "save each picture as a file of its own",
        ) from error
    except TooLarge as error:
        raise SourceTooLarge(f"{path} is too large: {error}", "scale it down") from error
