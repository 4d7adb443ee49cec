"""Allocator of ids for objects that a prompt names none for."""

from collections import OrderedDict
from collections.abc import Container

MAX_OBJECT_ID = 2**31 - 1
_RECENT = 1024  # ids that are not given again so soon
_FOLLOWED = 100_000  # an id further ahead is a client's own count: ours does not follow it


class ObjectIds:
    """The ids of one stream's objects: those given here ascend, and begin again after the last.

    An id that is in use, or was used of late, is left out, so that none means two objects.

    Attributes:
        next: Where the search for the next free id begins.
    """

    def __init__(self) -> None:
        self.next = 1
        self._recent: OrderedDict[int, None] = OrderedDict()

    def free(self, in_use: Container[int]) -> int:
        """The id for a new object; it is used up once it is given to `use`."""
        object_id = self.next
        while object_id in in_use or object_id in self._recent:
            object_id = _after(object_id)
        return object_id

    def use(self, object_id: int) -> None:
        """Take note of an id that an object has."""
        if 0 <= object_id - self.next < _FOLLOWED:
            self.next = _after(object_id)
        self._recent[object_id] = None
        self._recent.move_to_end(object_id)
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def go_on(self, from_id: int) -> None:
        """Give no id below `from_id`, as was so before a restart."""
        if self.next < from_id <= MAX_OBJECT_ID:
            self.next = from_id


def _after(object_id: int) -> int:
    return object_id + 1 if object_id < MAX_OBJECT_ID else 1
