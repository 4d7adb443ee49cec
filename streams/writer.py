"""Writes frames to an H.264 MP4 file with the source's timestamps."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streams.errors import WriterError

_BT709 = 1  # the same code for FFmpeg's matrix, primaries and transfer curve


class VideoWriter:
    """Writes H.264 MP4 (yuv420p, BT.709, crf 20), playable while it still downloads.

    The video grows in `PATH.part` and takes the name `PATH` in `close`, so `PATH` is always a
    whole video or what was there before; with no frame written, nothing is left. As a context
    manager it closes in the same way after an exception or Ctrl-C. After a WriterError of
    `write` the part is thrown away.

    H.264 needs even sizes: an odd width or height is padded by repeating the last column or
    row. A frame of another size than the writer's is stretched to it.

    Times are those of the source, shifted so that the first frame is at 0. A frame whose pts is
    missing, or not after that of the frame before, comes one tick of `fps` after it.

    The same frames and times give the same bytes on the same machine.
    """

    def __init__(self, path: str | Path, *, width: int, height: int, fps: Fraction) -> None:
        """Create `PATH.part`.

        Args:
            path: The file to write; its folder must exist.
            width: Width of the frames, in pixels.
            height: Height of the frames, in pixels.
            fps: Frames per second, for frames without pts and for the encoder.

        Raises:
            WriterError: `path` is a folder, or cannot be written.
            ValueError: A size or `fps` is not positive.
        """
        if width < 1 or height < 1 or fps <= 0:
            raise ValueError(f"bad video of {width}x{height} at {fps} fps")
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._width = width + width % 2
        self._height = height + height % 2
        self._fps = fps
        self._reformatter = VideoReformatter()
        self._output: tuple[OutputContainer, VideoStream] | None = None
        self._time_base = 1 / fps
        self._origin: Fraction | None = None
        self._last: int | None = None
        self._closed = False
        if self._path.is_dir():
            raise WriterError(f"cannot write {path}: it is a folder", "give the name of a file")
        try:
            self._part.open("wb").close()
        except OSError as error:
            raise self._failure(error) from error

    def write(
        self, image_hwc: NDArray[np.uint8], pts: int | None, time_base: Fraction | None
    ) -> None:
        """Encode one frame.

        Args:
            image_hwc: uint8 RGB (height, width, 3).
            pts: Presentation time in units of `time_base`; None where unknown.
            time_base: Seconds per unit of `pts`; None where unknown.

        Raises:
            WriterError: The encoder or the disk fails, or the writer is closed.
        """
        if self._closed:
            raise WriterError(f"cannot write {self._path}: it is closed")
        with self._translated():
            container, video = self._output or self._open(time_base)
            frame = self._encodable(image_hwc)
            frame.time_base = self._time_base
            frame.pts = self._next_pts(pts, time_base)
            container.mux(video.encode(frame))

    def close(self) -> None:
        """Finish the video and give it its name; a second call does nothing.

        Raises:
            WriterError: The rest cannot be written; nothing is left then.
        """
        if self._closed:
            return
        self._closed = True
        if self._output is None:
            self._part.unlink(missing_ok=True)
            return
        container, video = self._output
        with self._translated():
            container.mux(video.encode(None))
            container.close()
            self._part.replace(self._path)

    def _open(self, time_base: Fraction | None) -> tuple[OutputContainer, VideoStream]:
        self._time_base = time_base or 1 / self._fps
        container = av.open(
            f"file:{self._part}", "w", format="mp4", options={"movflags": "+faststart"}
        )
        video = container.add_stream("libx264", rate=self._fps)
        # x264's macroblock tree reads memory that it never wrote: other bytes on every run.
        video.options = {"crf": "20", "preset": "veryfast", "x264-params": "mbtree=0"}
        video.width, video.height, video.pix_fmt = self._width, self._height, "yuv420p"
        video.time_base = video.codec_context.time_base = self._time_base
        video.color_range = ColorRange.MPEG
        video.colorspace = video.color_primaries = video.color_trc = _BT709
        self._output = (container, video)
        return self._output

    def _encodable(self, image_hwc: NDArray[np.uint8]) -> VideoFrame:
        height, width = image_hwc.shape[:2]
        if height % 2 or width % 2:
            image_hwc = np.pad(image_hwc, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        return self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image_hwc), format="rgb24"),
            width=self._width,
            height=self._height,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )

    def _next_pts(self, pts: int | None, time_base: Fraction | None) -> int:
        """Return the time of the next frame in the video's time base."""
        if self._last is None:
            expected = 0
        else:
            expected = self._last + max(1, round(1 / (self._fps * self._time_base)))
        result = expected
        if pts is not None and time_base is not None:
            source = pts * time_base / self._time_base
            if self._origin is None:
                self._origin = source - expected
            shifted = round(source - self._origin)
            if self._last is None or shifted > self._last:
                result = shifted
        self._last = result
        return result

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn an error of FFmpeg or of the disk into a WriterError and drop the part."""
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            self._closed = True
            self._output = None
            self._part.unlink(missing_ok=True)
            raise self._failure(error) from error

    def _failure(self, error: av.error.FFmpegError | OSError) -> WriterError:
        return WriterError(
            f"cannot write {self._path}: {error.strerror or type(error).__name__}",
            "check that the folder exists, may be written and has space",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
