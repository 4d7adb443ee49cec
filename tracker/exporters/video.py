"""Video with effects, by default the overlay of masks, contours and names."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from streams.frame import Frame
from streams.video_formats import FORMATS, MP4, VideoFormat, hardware_mp4
from streams.video_writer import MAX_SIDE_PX, VideoWriter, scaled_size
from tracker.effects.base import Shot
from tracker.effects.chain import EffectChain, parse_effects
from tracker.errors import UsageError
from tracker.exporters.base import ExportSource, Settings
from tracker.types import TrackResult

_FALLBACK_FPS = Fraction(30)


def check_settings(settings: Settings) -> None:
    """Check the width, the effects and the encoder.

    Raises:
        UsageError: H.264 has no such width, there is no such effect, or no such encoder.
    """
    width = settings.get("out_width")
    if width is not None and (width % 2 or not 2 <= width <= MAX_SIDE_PX):
        raise UsageError(
            f"--out-width {width}: not a width of H.264",
            f"give an even number from 2 to {MAX_SIDE_PX}",
        )
    parse_effects(settings.get("effect"))
    encoder = settings.get("encoder")
    if encoder not in (None, "software", "hardware"):
        raise UsageError(f"--encoder {encoder}: there are software and hardware", "choose one")
    if encoder == "hardware" and hardware_mp4() is None:
        raise UsageError("--encoder hardware: no encoder of this machine opens", "leave it out")


def check_path(path: Path, settings: Settings) -> None:
    """Check that the video holds what the effects make.

    Raises:
        UsageError: They make alpha, and it has none.
    """
    if has_alpha(settings) and not FORMATS[path.suffix.lower()].alpha_format:
        raise UsageError(
            f"--out {path}: {path.suffix} has no transparency",
            "name it NAME.mov (ProRes 4444) or NAME.webm (VP9), or --export png:DIR",
        )


def has_alpha(settings: Settings) -> bool:
    """True where the effects make pictures with alpha."""
    return any(spec.has_alpha for spec, _ in parse_effects(settings.get("effect")))


def check_size(path: Path, height: int, width: int, settings: Settings) -> None:
    """Check that frames of `height` x `width` pixels can be written.

    Raises:
        UsageError: They are too large for the video.
    """
    size = (width, height)
    if settings.get("out_width") is not None:
        size = scaled_size(width, height, settings["out_width"])
    if max(size) > MAX_SIDE_PX:
        fitting = max(2, min(MAX_SIDE_PX, width * MAX_SIDE_PX // height) // 2 * 2)
        raise UsageError(
            f"--out {path}: {size[0]}x{size[1]} pixels, H.264 holds {MAX_SIDE_PX} a side",
            f"--out-width {fitting} scales it",
        )


class EffectVideoWriter:
    """Writes pictures with effects, with the source's timestamps, sound and pixel shape.

    The video has the size and the pixel shape of the first picture; others are stretched to it.
    """

    def __init__(self, path: Path, source: ExportSource, settings: Settings | None = None) -> None:
        """Write to `path`; the settings are `out_width`, `effect` and `encoder`."""
        settings = settings or {}
        self._path = path
        self._source = source
        self._fps = source.fps or _FALLBACK_FPS
        self._width: int | None = settings.get("out_width")
        self._chain = EffectChain(parse_effects(settings.get("effect")), float(self._fps))
        self._kind = _kind(path, settings)
        self._video: VideoWriter | None = None

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Draw one frame, and encode those that are finished."""
        self._encode(self._chain.push(frame, result))

    def close(self) -> None:
        """Finish the video and put it in place."""
        self._encode(self._chain.flush())
        if self._video is not None:
            self._video.close()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the video could not keep of its source, and what effects did."""
        return (*self._chain.notes, *(() if self._video is None else self._video.notes))

    def _encode(self, shots: Iterable[Shot]) -> None:
        for shot in shots:
            if self._video is None:
                self._video = self._open(shot)
            frame = shot.frame
            self._video.write(shot.image_hwc, frame.pts, frame.time_base, frame.duration)

    def _open(self, shot: Shot) -> VideoWriter:
        height, width, channels = shot.image_hwc.shape
        pixel_shape = shot.frame.sample_aspect_ratio
        if self._width is not None:
            display_shape = pixel_shape * width / height
            width, height = scaled_size(width, height, self._width)
            pixel_shape = display_shape * height / width
        return VideoWriter(
            self._path,
            width=width,
            height=height,
            fps=self._fps,
            sample_aspect_ratio=pixel_shape,
            kind=self._kind,
            source=self._source.file,
            has_alpha=channels > 3,
        )


def _kind(path: Path, settings: Settings) -> VideoFormat:
    kind = FORMATS[path.suffix.lower()]
    if kind is MP4 and settings.get("encoder") == "hardware":
        return hardware_mp4() or MP4
    return kind
