"""Objects from CVAT's XML, for videos and for images (version 1.1)."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from tracker.errors import PromptError, UsageError
from tracker.importers.base import Annotated, read_text
from tracker.importers.masks import check_size, filled, from_runs
from tracker.rle import Rle, encode_rle

_SHAPES = ("box", "polygon", "mask")
_Element = Any  # ElementTree.Element, whose attributes are text


def read_cvat(path: Path) -> Iterator[Annotated]:
    """Boxes, polygons and masks of all tracks and images; other shapes are left out.

    A shape of a track that is no keyframe lies between two that are.

    Raises:
        UsageError: The file is none of CVAT's.
        PromptError: A shape in it is none.
    """
    root = _parsed(path)
    for track in root.iter("track"):
        size = root.find("meta/*/original_size")
        if size is None:
            raise UsageError(f"{path} has tracks but no original_size", "export it again")
        where = f"{path}, a track"
        size_hw = (
            _whole(size.findtext("height"), "height", where),
            _whole(size.findtext("width"), "width", where),
        )
        for shape in _shapes(track):
            number = _whole(shape.get("frame"), "frame", where)
            yield _annotated(path, shape, size_hw, number, None, track)
    for image in root.iter("image"):
        where = f"{path}, image {image.get('name', '')}"
        size_hw = (
            _whole(image.get("height"), "height", where),
            _whole(image.get("width"), "width", where),
        )
        name = PurePosixPath(image.get("name", "")).name
        for shape in _shapes(image):
            yield _annotated(path, shape, size_hw, None, name, None)


def _parsed(path: Path) -> _Element:
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UsageError(f"{path} declares a document type", "CVAT's files have none")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UsageError(f"{path}: not XML: {error}", "check the file") from error
    if root.tag != "annotations":
        raise UsageError(f"{path} is not of CVAT: its root is {root.tag}", "check the format")
    return root


def _whole(text: str | None, name: str, where: str) -> int:
    try:
        return int(text or "")
    except ValueError as error:
        what = f"no {name}" if text is None else f"{name} {text[:20]!r}, no whole number"
        raise UsageError(f"{where}: {what}", "export it again") from error


def _shapes(parent: _Element) -> Iterator[_Element]:
    return (item for item in parent if item.tag in _SHAPES)


def _annotated(
    path: Path,
    shape: _Element,
    size_hw: tuple[int, int],
    number: int | None,
    name: str | None,
    track: _Element | None,
) -> Annotated:
    where = f"{path}, frame {name if number is None else number}"
    object_id = None if track is None else _whole(track.get("id"), "id of the track", where)
    label = shape.get("label") if track is None else track.get("label")
    if shape.get("outside") == "1":
        return Annotated(number, name, object_id, label, is_gone=True)
    is_between = track is not None and shape.get("keyframe") == "0"
    found = Annotated(number, name, object_id, label, is_between=is_between)
    try:
        if shape.tag == "box":
            x0, y0, x1, y1 = (float(shape.get(key)) for key in ("xtl", "ytl", "xbr", "ybr"))
            if not all(map(math.isfinite, (x0, y0, x1, y1))):
                raise ValueError
            return replace(found, box_xyxy=(x0, y0, x1, y1))
        mask = (
            _polygon(shape, size_hw, where)
            if shape.tag == "polygon"
            else _mask(shape, size_hw, where)
        )
    except (TypeError, ValueError) as error:
        raise PromptError(f"{where}: a {shape.tag} that is none", "export it again") from error
    return replace(found, mask=mask)


def _polygon(shape: _Element, size_hw: tuple[int, int], where: str) -> Rle:
    ring = [float(v) for pair in shape.get("points").split(";") for v in pair.split(",")]
    return encode_rle(filled([ring], *size_hw, where))


def _mask(shape: _Element, size_hw: tuple[int, int], where: str) -> Rle:
    check_size(*size_hw, where)
    left, top, width, height = (int(shape.get(k)) for k in ("left", "top", "width", "height"))
    cropped_hw = from_runs([int(v) for v in shape.get("rle").split(",")], height, width, where)
    mask_hw: NDArray[np.bool_] = np.zeros(size_hw, np.bool_)
    if left < 0 or top < 0 or left + width > size_hw[1] or top + height > size_hw[0]:
        raise PromptError(f"{where}: a mask beyond the picture", "export it again")
    mask_hw[top : top + height, left : left + width] = cropped_hw
    return encode_rle(mask_hw)
