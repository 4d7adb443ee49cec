"""Masks in the layout of DAVIS: one palette PNG per frame."""

from pathlib import Path

from PIL import Image

from streams.frame import Frame
from tracker.exporters.frame_png import save_png
from tracker.exporters.label_map import OverlapCounter, label_map
from tracker.exporters.palette import davis_palette
from tracker.types import TrackResult

#: Ids of a palette PNG; more make the PNGs grey with 16 bits.
MAX_PALETTE_ID = 255
#: The largest value of 16 bits, 65535, marks pixels that nobody judged.
MAX_ID = 65534


class DavisWriter:
    """Writes a PNG per frame; pixel value = object id.

    The mask of a picture has the picture's name; those of a video are named by frame number,
    `00000.png`, `00001.png`, ... With an id beyond 255 the PNGs are grey with 16 bits: all where
    such an object is announced, else those that have one.
    """

    def __init__(self, folder: Path, largest_id: int = MAX_PALETTE_ID) -> None:
        """Write into `folder`, which is made when the first frame comes.

        Args:
            folder: Where to.
            largest_id: Of the objects that are announced; a finder may add others.
        """
        self._folder = folder
        self._palette = davis_palette() if largest_id <= MAX_PALETTE_ID else None
        self._overlaps = OverlapCounter("davis")

    @property
    def notes(self) -> tuple[str, ...]:
        """What the PNGs could not hold."""
        return self._overlaps.notes

    def write(self, frame: Frame, result: TrackResult) -> None:
        """Write the masks of one frame."""
        height, width = frame.image.shape[:2]
        ids_hw = label_map(result, height, width)
        self._overlaps.add(result, ids_hw)
        palette = self._palette if ids_hw.max() <= MAX_PALETTE_ID else None
        if palette is None:
            image = Image.fromarray(ids_hw)
        else:
            image = Image.fromarray(ids_hw.astype("uint8"), mode="P")
            image.putpalette(palette)
        save_png(self._folder, frame, image)

    def close(self) -> None:
        """Every frame is a whole file already."""
