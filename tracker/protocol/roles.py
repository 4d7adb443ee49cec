"""Roles of clients, and the least role that each operation needs."""

from collections.abc import Mapping
from enum import StrEnum


class Role(StrEnum):
    """What a client may do; each role may do all that the ones before it may."""

    WATCH = "watch"  # see streams and objects, and subscribe
    PROMPT = "prompt"  # change objects
    ADMIN = "admin"  # change streams and what is kept, see where they come from, end the daemon

    def covers(self, least: "Role") -> bool:
        """Whether this role may do what needs `least`."""
        order = tuple(Role)
        return order.index(self) >= order.index(least)


LEAST_ROLE: Mapping[str, Role] = {
    "ping": Role.WATCH,
    "describe": Role.WATCH,
    "metrics": Role.WATCH,
    "stream.list": Role.WATCH,
    "object.list": Role.WATCH,
    "prompt": Role.PROMPT,
    "object.correct": Role.PROMPT,
    "object.remove": Role.PROMPT,
    "object.reset": Role.PROMPT,
    "object.relabel": Role.PROMPT,
    "stream.add": Role.ADMIN,
    "stream.remove": Role.ADMIN,
    "stream.pause": Role.ADMIN,
    "stream.resume": Role.ADMIN,
    "snapshot.save": Role.ADMIN,
    "snapshot.restore": Role.ADMIN,
    "shutdown": Role.ADMIN,
}
"""By operation. A subscription to a topic needs `Role.WATCH`."""
