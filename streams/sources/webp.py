"""Frames of an animated WebP, which FFmpeg does not decode."""

import io
import time
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from streams.access.bounded_file import read_at_most
from streams.access.files import OpenFile, open_any
from streams.closing import Closing
from streams.decode.ffmpeg_errors import translated
from streams.decode.image import MAX_FILE_BYTES, TooLarge, check_size
from streams.decode.memory import check_memory
from streams.errors import SourceTooLarge, SourceUnreadable
from streams.frame import Frame
from streams.info import MAX_PIXELS, SourceInfo, SourceStats
from streams.sources.base import Address

HEAD_BYTES = 21  # what marks an animation: up to the flags of the VP8X chunk
_ANIMATED = 0b10  # among these flags
_MILLISECOND = Fraction(1, 1000)


def is_webp_animation(head: bytes) -> bool:
    """True where a file begins as an animated WebP does."""
    return (
        len(head) >= HEAD_BYTES
        and (head[:4], head[8:16]) == (b"RIFF", b"WEBPVP8X")
        and bool(head[HEAD_BYTES - 1] & _ANIMATED)
    )


class WebpAnimationSource(Closing):
    """Frames of one animated WebP file with the times that it gives, in milliseconds.

    Pillow decodes one frame at a time; the encoded file and one picture are in memory. Of a file
    that is cut short, the whole frames come; what follows a frame that cannot be decoded is lost.
    `stats.damage` says so.

    Raises:
        StreamError: While opening: no frame can be decoded.
    """

    def __init__(
        self,
        address: Address,
        *,
        stream: str,
        open_file: OpenFile = open_any,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.stats = SourceStats()
        self._stream = stream
        self._closed = False
        with translated(address):
            encoded = read_at_most(Path(address.location), MAX_FILE_BYTES, open_file)
        whole = _whole_chunks(encoded)
        try:
            check_size(whole, max_pixels)
            with warnings.catch_warnings(action="ignore"):
                self._image = Image.open(io.BytesIO(whole), formats=["WEBP"])
                self._count = int(getattr(self._image, "n_frames", 1))
        except TooLarge as error:
            text = f"{address.shown} is too large: {error}"
            raise SourceTooLarge(text, "scale it down") from error
        except Exception as error:  # Pillow's are of many kinds
            raise self._unreadable(address) from error
        first = self._decode(0)
        if first is None:
            raise self._unreadable(address)
        height, width = first.image.shape[:2]
        duration_ms = self._image.info.get("duration")
        fps = Fraction(1000, int(duration_ms)) if duration_ms else None
        self.info = SourceInfo(address.shown, width, height, fps, self._count, live=False)
        self._cut = _cut(encoded, whole)
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
        except Exception:  # whatever Pillow says
            check_memory()
            return None
        finally:
            self.stats.decode_s += time.perf_counter() - started_s
        return Frame(self._stream, seq, pts, _MILLISECOND, captured_ns, image)

    def _run(self, first: Frame) -> Iterator[Frame]:
        for seq in range(self._count):
            if self._closed:
                return
            frame = self._decode(seq) if seq else first
            if frame is None:
                self.stats.corrupt_packets += 1
                self.stats.damage = f"frame {seq} of {self._count} cannot be decoded"
                return
            self.stats.frames += 1
            yield frame
        self.stats.damage = self._cut

    def __iter__(self) -> Iterator[Frame]:
        """Return the one iterator over the frames; a second call goes on where it stands."""
        return self._frames

    def close(self) -> None:
        """Close the file; no more frames come."""
        self._closed = True
        self._image.close()


def _riff_bytes(encoded: bytes) -> int:
    return 8 + int.from_bytes(encoded[4:8], "little")


def _cut(encoded: bytes, whole: bytes) -> str | None:
    """Return what keeps the end of a file from being read; None where nothing does."""
    if len(encoded) < _riff_bytes(encoded):
        return "the file is cut short"
    left = _riff_bytes(encoded) - len(whole)
    return f"what follows byte {len(whole)} is no WebP" if left > 1 else None


def _whole_chunks(encoded: bytes) -> bytes:
    """Return a WebP without the chunk that its end cuts, for libwebp takes no other.

    What follows data that are no chunk is left out too: libwebp does not read on there.
    """
    end = HEAD_BYTES - 9  # where the VP8X chunk begins
    while end + 8 <= len(encoded):
        size = int.from_bytes(encoded[end + 4 : end + 8], "little")
        if end + 8 + size > len(encoded) or not encoded[end : end + 4].strip().isalnum():
            break
        end += 8 + size + size % 2
    return encoded[:4] + (end - 8).to_bytes(4, "little") + encoded[8:end]
