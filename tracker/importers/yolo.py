"""Objects from YOLO labels: boxes and polygons, in parts of the picture's size."""

import math
from collections.abc import Iterator
from pathlib import Path

import yaml
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from tracker.errors import PromptError, UsageError
from tracker.importers.base import Annotated, files_in, number_in, read_text
from tracker.importers.masks import filled
from tracker.rle import encode_rle

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_BOX_NUMBERS = 4


class _Names(BaseModel):
    names: dict[int, str] | list[str] = Field(max_length=100_000)


def read_yolo(path: Path) -> Iterator[Annotated]:
    """Objects of a data set with `data.yaml`, `labels/` and `images/`, which tell the sizes.

    Raises:
        UsageError: The folder is no such data set.
        PromptError: A label is none, or its picture is missing.
    """
    names = _names(path / "data.yaml")
    for file in files_in(path, "labels/**/*.txt"):
        size = _size_wh(file)
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if line.strip():
                yield _annotated(f"{file}, line {number}", file.stem, line.split(), names, size)


def _names(path: Path) -> dict[int, str]:
    try:
        names = _Names.model_validate(yaml.safe_load(read_text(path))).names
    except (yaml.YAMLError, ValidationError) as error:
        raise UsageError(f"{path}: it has no names of classes", "check the format") from error
    return names if isinstance(names, dict) else dict(enumerate(names))


def _size_wh(label: Path) -> tuple[int, int]:
    """Size of the picture of a label file: `images` in place of the last `labels` in its path."""
    parts = list(label.parent.parts)
    parts[len(parts) - 1 - parts[::-1].index("labels")] = "images"
    for suffix in _SUFFIXES:
        picture = Path(*parts) / f"{label.stem}{suffix}"
        if picture.is_file():
            try:
                with Image.open(picture) as image:
                    return image.size
            except (OSError, Image.DecompressionBombError) as error:
                raise PromptError(f"{picture}: not a readable picture", "replace it") from error
    raise PromptError(f"{label} has no picture in {Path(*parts)}", "its size is needed")


def _annotated(
    where: str, stem: str, words: list[str], names: dict[int, str], size_wh: tuple[int, int]
) -> Annotated:
    width, height = size_wh
    try:
        label, numbers = names[int(words[0])], [float(word) for word in words[1:]]
        if not all(map(math.isfinite, numbers)):
            raise ValueError
    except (KeyError, ValueError) as error:
        raise PromptError(f"{where} is no label", "give a class and numbers from 0 to 1") from error
    if len(numbers) == _BOX_NUMBERS:
        x, y, w, h = numbers
        edges = ((x - w / 2) * width, (y - h / 2) * height)
        box = (*edges, (x + w / 2) * width, (y + h / 2) * height)
        return Annotated(number_in(stem), stem, None, label, box)
    if len(numbers) % 2:
        raise PromptError(f"{where} is no label", "give x and y of each corner")
    ring = [v * s for v, s in zip(numbers, (width, height) * (len(numbers) // 2), strict=True)]
    mask = encode_rle(filled([ring], height, width, where))
    return Annotated(number_in(stem), stem, None, label, mask=mask)
