"""Objects from LabelMe's JSON files (Wada's labelme), one per picture."""

import base64
import binascii
import io
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from tracker.errors import PromptError, UsageError
from tracker.importers.base import Annotated, files_in, number_in, read_text
from tracker.importers.masks import check_size, filled
from tracker.rle import encode_rle


class _Shape(BaseModel):
    label: str
    points: list[tuple[FiniteFloat, FiniteFloat]] = Field(max_length=1_000_000)
    shape_type: str = "polygon"
    group_id: int | None = None
    mask: str | None = None


class _File(BaseModel):
    shapes: list[_Shape]
    imagePath: str  # noqa: N815 - LabelMe's name
    imageHeight: int  # noqa: N815
    imageWidth: int  # noqa: N815


def read_labelme(path: Path) -> Iterator[Annotated]:
    """Objects of a file, or of all files of a folder.

    Shapes of one `group_id` and label are parts of one object, whose id it is; a rectangle alone
    is a box. Shapes of other types than polygon, rectangle and mask are left out.

    Raises:
        UsageError: A file is none of LabelMe's.
        PromptError: A shape in it is none.
    """
    for file in [path] if path.is_file() else files_in(path, "*.json"):
        try:
            content = _File.model_validate_json(read_text(file))
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, fault["loc"]))
            raise UsageError(f"{file}: {place}: {fault['msg']}", "check the format") from error
        stem = PureWindowsPath(content.imagePath).stem
        for group in _grouped(content.shapes):
            yield _annotated(file, content, stem, group)


def _grouped(shapes: list[_Shape]) -> Iterator[list[_Shape]]:
    groups: dict[tuple[int, str], list[_Shape]] = {}
    for shape in shapes:
        if shape.shape_type not in ("polygon", "rectangle", "mask"):
            continue
        if shape.group_id is None:
            yield [shape]
        else:
            groups.setdefault((shape.group_id, shape.label), []).append(shape)
    yield from groups.values()


def _annotated(file: Path, content: _File, stem: str, shapes: list[_Shape]) -> Annotated:
    where = f"{file}, {shapes[0].label}"
    number, first = number_in(stem), shapes[0]
    if len(shapes) == 1 and first.shape_type == "rectangle":
        return Annotated(number, stem, first.group_id, first.label, _box(first, where))
    check_size(content.imageHeight, content.imageWidth, where)
    mask_hw = np.zeros((content.imageHeight, content.imageWidth), np.bool_)
    for shape in shapes:
        mask_hw |= _mask(shape, content.imageHeight, content.imageWidth, where)
    return Annotated(number, stem, first.group_id, first.label, mask=encode_rle(mask_hw))


def _box(shape: _Shape, where: str) -> tuple[float, float, float, float]:
    if len(shape.points) != 2:
        raise PromptError(f"{where}: a rectangle of {len(shape.points)} points", "it has two")
    (xa, ya), (xb, yb) = shape.points
    return min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb)


def _mask(shape: _Shape, height: int, width: int, where: str) -> NDArray[np.bool_]:
    if shape.shape_type == "polygon":
        return filled([[v for point in shape.points for v in point]], height, width, where)
    x0, y0, x1, y1 = _box(shape, where)
    if shape.shape_type == "rectangle":
        return filled([[x0, y0, x1, y0, x1, y1, x0, y1]], height, width, where)
    mask_hw = np.zeros((height, width), np.bool_)
    try:
        data = base64.b64decode(shape.mask or "", validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if max(image.size) > max(height, width):
                raise ValueError
            cropped_hw = np.asarray(image.convert("L")) > 0
        rows, columns = cropped_hw.shape
        mask_hw[int(y0) : int(y0) + rows, int(x0) : int(x0) + columns] = cropped_hw
    except (binascii.Error, OSError, ValueError, Image.DecompressionBombError) as error:
        raise PromptError(f"{where}: a mask that is no PNG in its box", "save it again") from error
    return mask_hw
