"""Draft objects: tracked already, but shown to nobody until they are accepted."""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from tracker.protocol.replies import ObjectInfo
from tracker.types import ObjectResult

#: A draft that nobody touches for so long is given up.
DRAFT_S = 120.0

Item = TypeVar("Item", ObjectResult, ObjectInfo)


class Drafts:
    """The drafts of one stream, by id; each ends some time after it was last touched."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._ends_s: dict[int, float] = {}

    def __contains__(self, object_id: object) -> bool:
        return object_id in self._ends_s

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids of the drafts."""
        return tuple(self._ends_s)

    def touch(self, object_id: int) -> None:
        """Make an object a draft, or let one last longer."""
        self._ends_s[object_id] = self._clock_s() + DRAFT_S

    def drop(self, object_id: int) -> bool:
        """Forget that an object is a draft; False where it is none."""
        return self._ends_s.pop(object_id, None) is not None

    def clear(self) -> None:
        """Forget all."""
        self._ends_s.clear()

    def ended(self) -> list[int]:
        """Those to give up now."""
        now_s = self._clock_s()
        return [object_id for object_id, end_s in self._ends_s.items() if end_s <= now_s]

    def shown(self, objects: Iterable[Item]) -> tuple[Item, ...]:
        """The objects that are no drafts."""
        return tuple(item for item in objects if item.id not in self._ends_s)
