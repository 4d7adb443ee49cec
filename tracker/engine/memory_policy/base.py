"""Interface of memory policies."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tracker.models.base import Decoded

#: Areas of an object that are kept for its policy: those of the newest frames with the object.
AREAS = 10


@dataclass(frozen=True, slots=True)
class ObjectPast:
    """Mask areas and lasting memories of one object, as of the frame before.

    Attributes:
        areas: Low-resolution pixels of its mask on the newest `AREAS` frames on which it was there.
        lasting_age: Steps since its newest lasting memory was made.
    """

    areas: Sequence[int]
    lasting_age: int


class MemoryPolicy(ABC):
    """Choice of the tracked frames that objects remember; without state, shared by sessions.

    Attributes:
        name: As `Policy.keep_memories` has it.
        reach: Steps back that recent memories are looked for; None for as many as the model
            recalls. More serves where not every frame is remembered.
        distractor_memories: Lasting memories of each object beside the prompted ones; where it is
            0, `lasts` is not asked.
    """

    name: ClassVar[str]
    reach: ClassVar[int | None] = None
    distractor_memories: ClassVar[int] = 0

    @abstractmethod
    def remembers(self, decoded: Decoded) -> NDArray[np.bool_]:
        """Those of n tracked objects that remember the frame as a recent one, bool [n]."""

    def lasts(self, decoded: Decoded, pasts: Sequence[ObjectPast]) -> list[bool]:
        """Those of n tracked objects that remember the frame for long, too, bool [n]."""
        return [False] * len(pasts)
