"""Roles of clients."""

from enum import StrEnum


class Role(StrEnum):
    """Role of a client; each may do all that the ones before it may."""

    WATCH = "watch"  # see streams and objects, and subscribe
    PROMPT = "prompt"  # change objects
    ADMIN = "admin"  # change streams and what is kept, see where they come from, end the daemon

    def covers(self, least: "Role") -> bool:
        """True if this role may do what needs `least`."""
        order = tuple(Role)
        return order.index(self) >= order.index(least)
