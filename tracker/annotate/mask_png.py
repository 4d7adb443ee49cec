"""Masks from PNG files: one object in a file, or several as ids (DAVIS, PASCAL VOC)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracker.errors import PromptError
from tracker.exporters.palette import davis_palette
from tracker.rle import MAX_SIDE_PX

_CHOSEN = re.compile(r"(?P<file>.+)#(?P<id>\d{1,9})", re.DOTALL)
_IDS_SHOWN = 5


def read_mask(name: str, folder: Path = Path()) -> NDArray[np.bool_]:
    """Read the mask [H, W] that `FILE.png` names, or `FILE.png#ID` for one id of several.

    A file whose own name ends in `#ID` is read whole.

    Raises:
        PromptError: As `read_mask_png`.
    """
    match = _CHOSEN.fullmatch(name)
    if match is None or (folder / name).is_file():
        return read_mask_png(folder / name)
    return read_mask_png(folder / match["file"], int(match["id"]))


def read_mask_png(path: Path, chosen: int | None = None) -> NDArray[np.bool_]:
    """Read a mask [H, W]: the object is every pixel that is not zero, or whose id is `chosen`.

    The ids are the indices of a palette image, the values of a grey one; the colours of the DAVIS
    palette count as its indices. 255 (65535 with 16 bits) marks pixels that nobody judged, and
    belongs to no object that has an id. So a file with one id is a mask of that object, a file
    with several is none. Neither is meant where 255 stands alone, or is the commonest grey: that
    is a mask, perhaps with soft edges, and so is an image of other colours. Where some pixels are
    transparent, the object is what is not transparent, whatever its colour.

    Raises:
        PromptError: The file is missing, is no PNG, is larger than 16384 pixels a side, holds
            several ids, or not the chosen one.
    """
    pixels = _read(path)
    if chosen is not None:
        ids_hw = _ids_of(path, pixels)
        if chosen == 0 or chosen not in pixels.present:
            raise PromptError(f"{path} has no object {chosen}", f"it holds {_listed(pixels)}")
        return np.asarray(ids_hw == chosen, np.bool_)
    if pixels.ids_hw is None or pixels.is_soft or not pixels.objects:
        return pixels.shown_hw
    if len(pixels.objects) > 1:
        raise PromptError(
            f"{path} holds several objects: {_listed(pixels)}",
            f"name one, as in {path.name}#{pixels.objects[0]}, or track them all: "
            f"trackd track --masks {path}",
        )
    return np.asarray(pixels.ids_hw == pixels.objects[0], np.bool_)


def read_object_masks(
    path: Path, *, may_be_empty: bool = False
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Read each id of the file, ascending, and its mask [H, W].

    Args:
        path: The file.
        may_be_empty: A file of zeros holds no object, and is no error.

    Raises:
        PromptError: As `read_mask_png`, or there is no id.
    """
    pixels = _read(path)
    ids_hw = _ids_of(path, pixels)
    if not pixels.objects and not (may_be_empty and pixels.present == (0,)):
        raise PromptError(
            f"{path} holds no object ids, but {_listed(pixels)}", f"a mask: --mask ID:{path}"
        )
    for object_id in pixels.objects:
        yield object_id, np.asarray(ids_hw == object_id, np.bool_)


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Content of a PNG, read as a mask or as object ids.

    Attributes:
        shown_hw: Where it is not zero, or not transparent.
        ids_hw: Id of each pixel; None for an image without ids.
        present: The ids, ascending, with zero and the unjudged.
        objects: Those of objects.
        is_soft: It is a grey mask that may have soft edges.
    """

    shown_hw: NDArray[np.bool_]
    ids_hw: NDArray[np.integer] | None = None
    present: tuple[int, ...] = ()
    objects: tuple[int, ...] = ()
    is_soft: bool = False


def _read(path: Path) -> _Pixels:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if max(image.size) > MAX_SIDE_PX:
                raise PromptError(
                    f"{path}: mask is {image.width}x{image.height}", "make it smaller"
                )
            return _pixels(np.asarray(image), image.mode)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, FileNotFoundError):
            raise PromptError(f"{path}: no such mask file", "check the path") from error
        raise PromptError(f"{path}: not a readable PNG mask", "save the mask as PNG") from error


def _pixels(values: NDArray[np.integer], mode: str) -> _Pixels:
    if mode in ("RGBA", "LA"):
        opaque_hw = values[..., -1] > 0
        if not opaque_hw.all():
            return _Pixels(opaque_hw)
        values = values[..., :-1]
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    is_palette = mode == "P"
    ids_hw: NDArray[np.integer] | None = values
    if values.ndim == 3:
        ids_hw, is_palette = _davis_ids(values), True
    if ids_hw is None:
        return _Pixels(np.asarray(values.any(axis=2), np.bool_))
    present, counts = np.unique(ids_hw, return_counts=True)
    unjudged = 65535 if mode.startswith("I") else 255
    objects = tuple(int(value) for value in present if value not in (0, unjudged))
    commonest = int(present[np.argmax(np.where(present == 0, 0, counts))])
    is_soft = not is_palette and commonest == unjudged
    shown_hw = np.asarray(ids_hw != 0, np.bool_)
    return _Pixels(shown_hw, ids_hw, tuple(int(value) for value in present), objects, is_soft)


def _davis_ids(rgb_hwc: NDArray[np.integer]) -> NDArray[np.integer] | None:
    """Ids from the colours of the DAVIS palette; None where there are others."""
    weights = np.array([1 << 16, 1 << 8, 1])
    palette = np.frombuffer(davis_palette(), np.uint8).reshape(-1, 3) @ weights
    order = np.argsort(palette)
    colours_hw = rgb_hwc @ weights
    places_hw = np.searchsorted(palette, colours_hw, sorter=order).clip(max=255)
    ids_hw: NDArray[np.integer] = order[places_hw]
    return ids_hw if np.array_equal(palette[ids_hw], colours_hw) else None


def _ids_of(path: Path, pixels: _Pixels) -> NDArray[np.integer]:
    if pixels.ids_hw is None:
        raise PromptError(f"{path} is a colour image without ids", "save it with a palette or grey")
    return pixels.ids_hw


def _listed(pixels: _Pixels) -> str:
    ids = [value for value in pixels.present if value]
    more = ", ..." if len(ids) > _IDS_SHOWN else ""
    return f"ids {', '.join(map(str, ids[:_IDS_SHOWN]))}{more}" if ids else "nothing"
