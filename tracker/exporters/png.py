"""Pictures with effects as PNGs, one per frame, with alpha where the effects make some."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from streams.frame import Frame
from tracker.effects.base import Shot
from tracker.effects.chain import EffectChain, parse_effects
from tracker.exporters.base import ExportSource, Settings
from tracker.exporters.frame_png import save_png
from tracker.types import TrackResult

_COMPRESS_LEVEL = 3  # of 9; more takes far longer for little


class PngWriter:
    """Writes a PNG per frame, named as the picture or by number."""

    def __init__(self, folder: Path, source: ExportSource, settings: Settings) -> None:
        """Write into `folder`, which is made when the first frame comes."""
        self._folder = folder
        fps = float(source.fps or 30)
        self._chain = EffectChain(parse_effects(settings.get("effect")), fps)

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Draw one frame, and write those that are finished."""
        self._save(self._chain.push(frame, result))

    def close(self) -> None:
        """Write the rest."""
        self._save(self._chain.flush())

    @property
    def notes(self) -> tuple[str, ...]:
        """What effects did."""
        return self._chain.notes

    def _save(self, shots: Iterable[Shot]) -> None:
        for shot in shots:
            image = Image.fromarray(shot.image_hwc)
            save_png(self._folder, shot.frame, image, _COMPRESS_LEVEL)
