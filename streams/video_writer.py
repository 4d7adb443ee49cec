"""Writes frames to a video file with the source's timestamps, and its sound."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streams.closing import Closing
from streams.errors import WriterError
from streams.source_extras import Appearance, SoundTrack, open_sound, read_appearance
from streams.video_formats import MP4, VideoFormat

MAX_SIDE_PX = 16384  # of libx264
_MAX_SAR_TERM = 65535  # of H.264
_SQUARE = Fraction(1)
# Between two frames MP4 holds 2**31 ticks, FFmpeg turns more into one: here half an hour.
_FINEST_TICK_S = Fraction(1, 1_000_000)
_RGB_CHANNELS = 3
_BT709 = 1  # the same code for FFmpeg's matrix, primaries and transfer curve


def scaled_size(width: int, height: int, target_width: int) -> tuple[int, int]:
    """Return width and height, both even, of a picture that is scaled to an even width."""
    return target_width, max(2, 2 * round(height * target_width / width / 2))


def _in_lowest_terms(ratio: Fraction) -> Fraction:
    """Return the ratio, or the nearest one whose terms H.264 can hold."""
    if ratio > 1:
        return 1 / _in_lowest_terms(1 / ratio)
    return max(ratio.limit_denominator(_MAX_SAR_TERM), Fraction(1, _MAX_SAR_TERM))


class VideoWriter(Closing):
    """Writes H.264 MP4 (yuv420p, BT.709, crf 20), playable while it still downloads.

    Or another `VideoFormat`, some of which hold alpha. Of the file that the frames are of, it
    keeps the sound, the colour primaries and transfer curve, the rotation and the titles.

    The video grows in `PATH.part` and takes the name `PATH` in `close`, so `PATH` is always a
    whole video or what was there before; with no frame written, nothing is left. As a context
    manager it closes in the same way after an exception or Ctrl-C. After a WriterError of
    `write` the part is thrown away.

    H.264 needs even sizes: an odd width or height is padded by repeating the last column or
    row. A frame of another size than the writer's is stretched to it.

    Times are those of the source, shifted so that the first frame is at 0. A frame whose pts is
    missing, or not after that of the frame before, comes one tick of `fps` after it. Each frame
    lasts until the next one; the last lasts as long as it says, or one tick of `fps`. There are no
    B-frames, for readers of MP4 do not agree on how long a picture lasts that is decoded early.

    The same frames and times give the same bytes on the same machine.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        width: int,
        height: int,
        fps: Fraction,
        sample_aspect_ratio: Fraction = _SQUARE,
        kind: VideoFormat = MP4,
        source: Path | None = None,
        has_alpha: bool = False,
    ) -> None:
        """Create `PATH.part`.

        Args:
            path: The file to write; its folder must exist.
            width: Of the frames, in pixels.
            height: Of the frames, in pixels.
            fps: Frames per second, for frames without pts and for the encoder.
            sample_aspect_ratio: Width of a pixel over its height, as it is to be seen.
            kind: Container and encoder.
            source: The video file that the frames are of; None for none.
            has_alpha: Frames are RGBA.

        Raises:
            WriterError: `path` is a folder, or cannot be written.
            ValueError: A number is not positive, or a side is longer than `MAX_SIDE_PX`.
        """
        if not (
            0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX and fps > 0 < sample_aspect_ratio
        ):
            raise ValueError(f"bad video of {width}x{height} at {fps} fps")
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._width = width + width % 2
        self._height = height + height % 2
        self._kind = kind
        self._source = source
        self._appearance = Appearance() if source is None else read_appearance(source)
        self._pixel_format = kind.alpha_format if has_alpha else kind.pixel_format
        self._sound: SoundTrack | None = None
        self._fps = fps
        self._sample_aspect_ratio = _in_lowest_terms(sample_aspect_ratio)
        self._reformatter = VideoReformatter()
        self._output: tuple[OutputContainer, VideoStream] | None = None
        self._time_base = 1 / fps
        self._origin: Fraction | None = None
        self._last: int | None = None
        self._end = 0  # of the last frame, in units of the time base
        self._closed = False
        self._create_part()

    def write(
        self,
        image_hwc: NDArray[np.uint8],
        pts: int | None,
        time_base: Fraction | None,
        duration: int | None = None,
    ) -> None:
        """Encode one frame.

        Args:
            image_hwc: uint8 RGB (height, width, 3), or RGBA where the video has alpha.
            pts: Presentation time in units of `time_base`; None where unknown.
            time_base: Seconds per unit of `pts`; None where unknown.
            duration: For how long it is shown, in units of `time_base`; None where unknown.

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
            frame.duration = self._ticks(duration, time_base)
            self._end = frame.pts + frame.duration
            container.mux(video.encode(frame))
            if self._sound is not None:
                self._sound.copy_until(self._source_s(frame.pts), self._source_s(0))

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
            if self._sound is not None:
                self._sound.finish(self._source_s(self._end), self._source_s(0))
            container.close()
            self._part.replace(self._path)

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines about the sound of the source that could not be kept."""
        return () if self._sound is None else self._sound.notes

    def _create_part(self) -> None:
        if self._path.is_dir():
            folder = self._path
            raise WriterError(f"cannot write {folder}: it is a folder", "give the name of a file")
        try:
            self._part.open("wb").close()
        except OSError as error:
            raise self._failure(error) from error

    def _open(self, time_base: Fraction | None) -> tuple[OutputContainer, VideoStream]:
        self._time_base = max(time_base or 1 / self._fps, _FINEST_TICK_S)
        kind, looks = self._kind, self._appearance
        options = dict(kind.container_options)
        container = av.open(f"file:{self._part}", "w", format=kind.container, options=options)
        container.metadata.update(looks.titles)
        video = container.add_stream(kind.encoder, rate=self._fps)
        assert isinstance(video, VideoStream)
        video.options = dict(kind.options)
        video.width, video.height, video.pix_fmt = self._width, self._height, self._pixel_format
        video.codec_context.sample_aspect_ratio = self._sample_aspect_ratio
        if self._is_turned:
            video.width, video.height = self._height, self._width
            video.codec_context.sample_aspect_ratio = 1 / self._sample_aspect_ratio
        if looks.rotation_deg:
            video.set_display_rotation(looks.rotation_deg)
        video.time_base = video.codec_context.time_base = self._time_base
        video.codec_context.flags |= Flags.frame_duration
        video.color_range = ColorRange.MPEG
        video.colorspace = _BT709
        video.color_primaries = looks.primaries or _BT709
        video.color_trc = looks.transfer or _BT709
        self._output = (container, video)
        if self._source is not None:
            self._sound = open_sound(self._source, container, kind)
        return self._output

    @property
    def _is_turned(self) -> bool:
        return self._appearance.rotation_deg % 180 == 90

    def _source_s(self, pts: int) -> float:
        """Time on the source's clock, in seconds, of a time of this video."""
        return float((pts + (self._origin or 0)) * self._time_base)

    def _encodable(self, image_hwc: NDArray[np.uint8]) -> VideoFrame:
        height, width = image_hwc.shape[:2]
        lacking = (self._height - height, self._width - width)
        if lacking in ((0, 1), (1, 0), (1, 1)):
            image_hwc = np.pad(image_hwc, ((0, lacking[0]), (0, lacking[1]), (0, 0)), mode="edge")
        image_hwc = np.rot90(image_hwc, -self._appearance.rotation_deg // 90)
        size_wh = (self._width, self._height)
        coded_width, coded_height = size_wh[::-1] if self._is_turned else size_wh
        layout = "rgb24" if image_hwc.shape[2] == _RGB_CHANNELS else "rgba"
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image_hwc), format=layout),
            width=coded_width,
            height=coded_height,
            format=self._pixel_format,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        # Some encoders tell those of the frames, not of the stream.
        frame.color_primaries = self._appearance.primaries or _BT709
        frame.color_trc = self._appearance.transfer or _BT709
        return frame

    def _next_pts(self, pts: int | None, time_base: Fraction | None) -> int:
        """Return the time of the next frame in the video's time base."""
        expected = 0 if self._last is None else self._last + self._ticks(None, None)
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

    def _ticks(self, duration: int | None, time_base: Fraction | None) -> int:
        """Return a duration in the video's time base, that of a tick of `fps` where unknown."""
        seconds = 1 / self._fps
        if duration is not None and time_base is not None:
            seconds = duration * time_base
        return max(1, round(seconds / self._time_base))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn an error of FFmpeg or of the disk into a WriterError and drop the part."""
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            self._closed = True
            self._output = None
            if self._sound is not None:
                self._sound.close()
            self._part.unlink(missing_ok=True)
            raise self._failure(error) from error

    def _failure(self, error: av.error.FFmpegError | OSError) -> WriterError:
        return WriterError(
            f"cannot write {self._path}: {error.strerror or type(error).__name__}",
            "check that the folder exists, may be written and has space",
        )
