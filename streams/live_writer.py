"""H.264 of pictures as they come, for players that are to show them at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streams.closing import Closing
from streams.errors import WriterError

TIME_BASE = Fraction(1, 90_000)  # of RTP and MPEG-TS
_KEYFRAME_EVERY_S = 2  # whoever joins waits so long at most
_NOMINAL_FPS = 30  # for the rate control, which knows no other


class _Sink:
    """File-like object that FFmpeg writes to; it keeps the error, of which PyAV makes another."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self.error: Exception | None = None

    def write(self, data: bytes) -> int:
        try:
            self._write(bytes(data))
        except Exception as error:
            self.error = error
            raise
        return len(data)


class LiveWriter(Closing):
    """Encodes RGB pictures of one size as H.264 without delay, in a NUT container.

    No B-frames, a keyframe every two seconds, yuv420p in BT.709, and a bitrate that a buffer of
    half a second holds. An odd width or height is padded by repeating the last column or row.

    Args:
        write: Takes the bytes of the container; what it raises comes out of `write` and `close`.
        width: Of the pictures, in pixels.
        height: Likewise.
        bitrate: Bits per second.
    """

    def __init__(
        self, write: Callable[[bytes], None], *, width: int, height: int, bitrate: int
    ) -> None:
        self.size_wh = (width, height)
        self._padded_wh = (width + width % 2, height + height % 2)
        self._reformatter = VideoReformatter()
        self._next_key = 0
        self._last = -1
        self._sink = _Sink(write)
        at_once = {"flush_packets": "1"}
        self._container: OutputContainer = av.open(self._sink, "w", format="nut", options=at_once)
        self._video = self._container.add_stream("libx264", rate=_NOMINAL_FPS)
        assert isinstance(self._video, VideoStream)
        self._video.options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "forced-idr": "1",
            "g": str(60 * _NOMINAL_FPS),
            "b": str(bitrate),
            "maxrate": str(bitrate),
            "bufsize": str(bitrate // 2),
        }
        self._video.width, self._video.height = self._padded_wh
        self._video.pix_fmt = "yuv420p"
        self._video.time_base = self._video.codec_context.time_base = TIME_BASE
        self._video.color_range = ColorRange.MPEG
        self._video.colorspace = Colorspace.ITU709

    def write(self, image_hwc: NDArray[np.uint8], time_s: Fraction) -> None:
        """Encode a picture.

        Args:
            image_hwc: uint8 RGB [H, W, 3].
            time_s: When it is shown, in seconds; later than the one before.

        Raises:
            WriterError: It cannot be encoded.
        """
        frame = self._encodable(image_hwc)
        frame.time_base = TIME_BASE
        frame.pts = self._last = max(round(time_s / TIME_BASE), self._last + 1)
        if frame.pts >= self._next_key:
            frame.pict_type = PictureType.I
            self._next_key = frame.pts + _KEYFRAME_EVERY_S * TIME_BASE.denominator
        with self._translated():
            self._container.mux(self._video.encode(frame))

    def close(self) -> None:
        """Encode what is left, and end the container."""
        with self._translated():
            if self._last >= 0:
                self._container.mux(self._video.encode(None))
            self._container.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise the errors of `write` as they were, and others as a WriterError."""
        try:
            yield
        except av.error.FFmpegError as error:
            if self._sink.error is not None:
                raise self._sink.error from None
            raise WriterError(f"cannot encode the video: {error.strerror}") from error

    def _encodable(self, image_hwc: NDArray[np.uint8]) -> VideoFrame:
        height, width = image_hwc.shape[:2]
        lacking = ((0, self._padded_wh[1] - height), (0, self._padded_wh[0] - width), (0, 0))
        padded_hwc = np.pad(image_hwc, lacking, mode="edge")
        return self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(padded_hwc), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
