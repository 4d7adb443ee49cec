"""A PNG of a frame, whole or not at all."""

from pathlib import Path

from PIL import Image

from streams.frame import Frame
from tracker.errors import OutputError
from tracker.exporters.base import PART_NAME
from tracker.exporters.frame_name import frame_stem


def save_png(folder: Path, frame: Frame, image: Image.Image, compress_level: int = -1) -> None:
    """Write the PNG of a frame into a folder, which is made; zlib's level is 0..9, -1 its own.

    Raises:
        OutputError: It cannot be written; nothing of it is left.
    """
    part, target = folder / PART_NAME, folder / f"{frame_stem(frame)}.png"
    try:
        folder.mkdir(exist_ok=True)
        image.save(part, format="PNG", compress_level=compress_level)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
