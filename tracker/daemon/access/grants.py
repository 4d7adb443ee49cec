"""Grants of clients, and the caller of a message."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tracker.protocol.roles import Role


@dataclass(frozen=True, slots=True)
class Grant:
    """Permissions of a client.

    Attributes:
        role: Which operations.
        streams: Patterns of the names of the streams it may see and change; None for all.
    """

    role: Role
    streams: tuple[str, ...] | None = None

    def sees(self, stream: str) -> bool:
        """True if a stream of this name exists for the client."""
        return self.streams is None or any(fnmatchcase(stream, p) for p in self.streams)


@dataclass(frozen=True, slots=True)
class Caller:
    """Sender of a message.

    Attributes:
        name: For people: `key NAME`, `uid NUMBER` or `local`.
        grant: What it may do now; None for a key that is no longer allowed.
        account: Name of its key, whose connections all count as one client; None without keys.
    """

    name: str
    grant: Grant | None
    account: str | None = None


LOCAL = Caller("local", Grant(Role.ADMIN))
"""A program on this machine, let in without a key."""
