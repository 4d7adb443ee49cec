"""Pictures with effects as PNGs, one per frame, with alpha where the effects make some."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from streams.frame import Frame
from tracker.effects.base import Shot
from tracker.effects.chain import EffectChain, parse_effects
from tracker.errors import OutputError
from tracker.exporters.base import PART_NAME, ExportSource, Settings
from tracker.exporters.frame_name import frame_stem
from tracker.types import TrackResult

_COMPRESS_LEVEL = 3  # of 9; more takes far longer for little


class PngWriter:
    """Writes a PNG per frame, named as the picture or by number."""

    def __init__(self, folder: Path, source: ExportSource, settings: Settings) -> None:
        """Write into `folder`, which is made when the first frame comes."""
        self._folder = folder
        self._part = folder / PART_NAME
        fps = float(source.fps or 30)
        self._chain = EffectChain(parse_effects(settings.get("effect")), fps)

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Draw one frame, and write those that are finished."""
        self._save(self._chain.push(frame, result))

    def close(self) -> None:
        """Write the rest."""
        self._save(self._chain.flush())

    def _save(self, shots: Iterable[Shot]) -> None:
        for shot in shots:
            target = self._folder / f"{frame_stem(shot.frame)}.png"
            try:
                self._folder.mkdir(exist_ok=True)
                image = Image.fromarray(shot.image_hwc)
                image.save(self._part, format="PNG", compress_level=_COMPRESS_LEVEL)
                self._part.replace(target)
            except OSError as error:
                self._part.unlink(missing_ok=True)
                raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
