"""The objects of stills: which there are, and how they are cut out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.policies.cutouts import Cutout
from tools.train.pack_format import Still
from tools.train.packed import Pack
from tools.train.scene import Picture

OBJECT_AREA = (0.003, 0.6)  # of the picture; what is smaller or larger is no object


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A picture, BGR uint8 [H, W, 3], and objects on it, each bool [H, W]; they may overlap."""

    picture: Picture
    masks: tuple[NDArray[np.bool_], ...]


def random_objects(pack: Pack, source: str, most: int, random: np.random.Generator) -> Shown | None:
    """Up to `most` random regions of a random picture of a source; None where there are none.

    Those of its first mask come first: where there are two, the first shows whole objects and the
    second their parts, of which there are more.
    """
    stills = pack.index.stills[source]
    still = stills[random.integers(len(stills))]
    maps = [pack.mask(mask) for mask in still.masks]
    fitting = [(number, value) for number, hw in enumerate(maps) for value in _objects(hw)]
    if not fitting:
        return None
    shuffled = [fitting[i] for i in random.permutation(len(fitting))]
    chosen = sorted(shuffled, key=lambda region: region[0])[:most]
    masks = tuple(maps[number] == value for number, value in chosen)
    return Shown(pack.image(still.image), masks)


def _objects(values_hw: NDArray[np.uint8]) -> list[int]:
    """The values of a mask whose regions may be objects."""
    areas = np.bincount(values_hw.ravel())[1:] / values_hw.size
    fits = (areas >= OBJECT_AREA[0]) & (areas <= OBJECT_AREA[1])
    values: list[int] = (1 + np.flatnonzero(fits)).tolist()
    return values


def random_picture(pack: Pack, random: np.random.Generator) -> Picture:
    """Any still of the pack."""
    sources = tuple(pack.index.stills.values())
    number = int(random.integers(sum(len(source) for source in sources)))
    return pack.image(_nth(sources, number).image)


def _nth(sources: tuple[tuple[Still, ...], ...], number: int) -> Still:
    for source in sources:
        if number < len(source):
            return source[number]
        number -= len(source)
    raise IndexError(number)


def cut_out(shown: Shown) -> Cutout:
    """The first object and what surrounds it within its bounding box."""
    mask_hw = shown.masks[0]
    rows, columns = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Cutout(shown.picture[part], mask_hw[part])
