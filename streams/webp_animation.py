"""Frames of an animated WebP, which FFmpeg does not decode."""

import time
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image, ImageOps

from streams.address import Address
from streams.errors import SourceUnreadable
from streams.foreign import translated
from streams.frame import Frame
from streams.info import SourceInfo, SourceStats

_ANIMATED = 0b10  # among the flags of a VP8X chunk
_MILLISECOND = Fraction(1, 1000)


def is_webp_animation(path: Path) -> bool:
    """Tell an animated WebP by its first bytes.

    Raises:
        OSError: The file cannot be read.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(21)
    return (
        (head[:4], head[8:16]) == (b"RIFF", b"WEBPVP8X")
        and len(head) == 21
        and bool(head[20] & _ANIMATED)
    )


class WebpAnimationSource:
    """Frames of one animated WebP file with the times that it gives, in milliseconds.

    Pillow decodes one frame at a time; the encoded file and one picture are in memory. What
    comes after a frame that cannot be decoded is lost, and `stats.damage` says so.

    Raises:
        StreamError: While opening: no frame can be decoded.
    """

    def __init__(self, address: Address, *, stream: str) -> None:
        self.stats = SourceStats()
        self._stream = stream
        self._closed = False
        with translated(address), warnings.catch_warnings(action="ignore"):
            try:
                self._image = Image.open(address.location, formats=["WEBP"])
                self._count = int(getattr(self._image, "n_frames", 1))
            except (Image.DecompressionBombError, SyntaxError, ValueError) as error:
                raise self._unreadable(address) from error
        first = self._decode(0)
        if first is None:
            raise self._unreadable(address)
        height, width = first.image.shape[:2]
        duration_ms = self._image.info.get("duration")
        fps = Fraction(1000, int(duration_ms)) if duration_ms else None
        self.info = SourceInfo(address.shown, width, height, fps, self._count, live=False)
        self._frames = self._run(first)

    @staticmethod
    def _unreadable(address: Address) -> SourceUnreadable:
        return SourceUnreadable(
            f"the animated WebP {address.shown} cannot be decoded", "check that it is whole"
        )

    def _decode(self, seq: int) -> Frame | None:
        started_s, captured_ns = time.perf_counter(), time.time_ns()
        try:
            self._image.seek(seq)
            upright = ImageOps.exif_transpose(self._image)
            pts = int(self._image.info["timestamp"])
            image = np.ascontiguousarray(np.asarray(upright.convert("RGB"), np.uint8))
        except (OSError, EOFError, SyntaxError, ValueError, KeyError, MemoryError):
            return None
        finally:
            self.stats.decode_s += time.perf_counter() - started_s
        return Frame(self._stream, seq, pts, _MILLISECOND, captured_ns, image)

    def _run(self, first: Frame) -> Iterator[Frame]:
        frame: Frame | None = first
        for seq in range(self._count):
            if self._closed:
                return
            frame = first if seq == 0 else self._decode(seq)
            if frame is None:
                self.stats.corrupt_packets += 1
                self.stats.damage = f"frame {seq} of {self._count} cannot be decoded"
                return
            self.stats.frames += 1
            yield frame

    def __iter__(self) -> Iterator[Frame]:
        """Return the one iterator over the frames; a second call goes on where it stands."""
        return self._frames

    def close(self) -> None:
        """Close the file; no more frames come."""
        self._closed = True
        self._image.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
