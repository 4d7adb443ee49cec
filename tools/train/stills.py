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
    """A picture, BGR uint8 [H, W, 3], and an object on it, bool [H, W]."""

    picture: Picture
    mask_hw: NDArray[np.bool_]


def random_object(pack: Pack, source: str, random: np.random.Generator) -> Shown | None:
    """A random region of a random mask of a source; None where that is no object."""
    stills = pack.index.stills[source]
    still = stills[random.integers(len(stills))]
    if not still.masks:
        return None
    values_hw = pack.mask(still.masks[random.integers(len(still.masks))])
    areas = np.bincount(values_hw.ravel())[1:] / values_hw.size
    fitting = 1 + np.flatnonzero((areas >= OBJECT_AREA[0]) & (areas <= OBJECT_AREA[1]))
    if not fitting.size:
        return None
    return Shown(pack.image(still.image), values_hw == random.choice(fitting))


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
    """The object and what surrounds it within its bounding box."""
    rows = np.flatnonzero(shown.mask_hw.any(axis=1))
    columns = np.flatnonzero(shown.mask_hw.any(axis=0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Cutout(shown.picture[part], shown.mask_hw[part])
