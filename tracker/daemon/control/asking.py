"""Whose request is being done, for what queues work by client."""

from contextvars import ContextVar

#: The client whose request the current thread does; b"" for work of the daemon's own.
ASKING: ContextVar[bytes] = ContextVar("asking", default=b"")
