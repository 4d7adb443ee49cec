"""Video with an effect drawn on it, by default the overlay of masks, contours and names."""

from fractions import Fraction
from pathlib import Path

from streams.frame import Frame
from streams.video_writer import MAX_SIDE_PX, VideoWriter, scaled_size
from tracker.effects.base import Effect, EffectSpec
from tracker.effects.registry import DEFAULT, EFFECTS
from tracker.errors import UsageError
from tracker.exporters.base import Settings
from tracker.types import TrackResult

_FALLBACK_FPS = Fraction(30)


def check_settings(settings: Settings) -> None:
    """Check the width and the name of the effect.

    Raises:
        UsageError: H.264 has no such width, or there is no such effect.
    """
    width = settings.get("out_width")
    if width is not None and (width % 2 or not 2 <= width <= MAX_SIDE_PX):
        raise UsageError(
            f"--out-width {width}: not a width of H.264",
            f"give an even number from 2 to {MAX_SIDE_PX}",
        )
    effect_of(settings)


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


def effect_of(settings: Settings) -> EffectSpec:
    """The effect that is asked for.

    Raises:
        UsageError: There is none of this name.
    """
    return EFFECTS.find(settings.get("effect") or DEFAULT)


class EffectVideoWriter:
    """Writes the drawn frames as H.264 MP4 with the source's timestamps and pixel shape.

    The video has the size and the pixel shape of the first frame; others are stretched to it.
    """

    def __init__(
        self,
        path: Path,
        fps: Fraction | None,
        width: int | None = None,
        effect: EffectSpec | None = None,
    ) -> None:
        """Write to `path`.

        Args:
            path: The file to write.
            fps: The source's rate, None where it has none.
            width: To scale to, in pixels, even; None for the source's.
            effect: Draws the objects; None for the default one.
        """
        self._path = path
        self._fps = fps or _FALLBACK_FPS
        self._width = width
        self._spec = effect or EFFECTS.find(DEFAULT)
        self._effects: dict[tuple[int, int], Effect] = {}  # of the newest size
        self._video: VideoWriter | None = None

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Draw and encode one frame."""
        height, width = size_hw = frame.image.shape[:2]
        if size_hw not in self._effects:
            self._effects = {size_hw: self._spec.make(height, width)}
        if self._video is None:
            self._video = self._open(frame)
        drawn = self._effects[size_hw].draw(frame.image, result.objects)
        self._video.write(drawn, frame.pts, frame.time_base, frame.duration)

    def _open(self, frame: Frame) -> VideoWriter:
        height, width = frame.image.shape[:2]
        pixel_shape = frame.sample_aspect_ratio
        if self._width is not None:
            display_shape = pixel_shape * width / height
            width, height = scaled_size(width, height, self._width)
            pixel_shape = display_shape * height / width
        return VideoWriter(
            self._path, width=width, height=height, fps=self._fps, sample_aspect_ratio=pixel_shape
        )

    def close(self) -> None:
        """Finish the video and put it in place."""
        if self._video is not None:
            self._video.close()
