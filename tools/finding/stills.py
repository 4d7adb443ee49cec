"""Photos with true instance masks: `NAME.jpg` beside `NAME.0.png`, an id for each pixel."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracker.errors import TrackdError

LEAST_SHARE = 0.001  # of the picture; smaller objects are not asked for


@dataclass(frozen=True, slots=True)
class Still:
    """A photo, RGB uint8 [H, W, 3], and its true objects, bool [N, H, W]."""

    name: str
    image_hwc: NDArray[np.uint8]
    truths_nhw: NDArray[np.bool_]


def read_stills(folder: Path, count: int) -> Iterator[Still]:
    """About `count` photos of a folder, evenly spread over its names, those with objects.

    Raises:
        TrackdError: The folder holds none.
    """
    paths = [path for path in sorted(folder.glob("*.jpg")) if path.with_suffix(".0.png").is_file()]
    if not paths:
        raise TrackdError(f"no NAME.jpg beside NAME.0.png in {folder}", "check the folder")
    for path in paths[:: max(1, len(paths) // count)][:count]:
        ids_hw = np.asarray(Image.open(path.with_suffix(".0.png")))
        truths = [ids_hw == i for i in np.unique(ids_hw) if i]
        truths = [mask_hw for mask_hw in truths if mask_hw.mean() >= LEAST_SHARE]
        if truths:
            image_hwc = np.asarray(Image.open(path).convert("RGB"))
            yield Still(path.name, image_hwc, np.stack(truths))


def best_ious(truths_nhw: NDArray[np.bool_], found_khw: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Largest IoU of each true mask with any that was found, float64 [N]."""
    if not len(found_khw):
        return np.zeros(len(truths_nhw))
    truths, found = (
        masks.reshape(len(masks), -1).astype(np.float32) for masks in (truths_nhw, found_khw)
    )
    inside_nk = truths @ found.T
    union_nk = truths.sum(1)[:, None] + found.sum(1)[None] - inside_nk
    return np.asarray((inside_nk / np.maximum(union_nk, 1)).max(axis=1), np.float64)
