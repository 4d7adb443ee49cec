"""Context variable with the client whose request is being done."""

from contextvars import ContextVar

#: The client whose request the current thread does; b"" for work of the daemon's own.
ASKING: ContextVar[bytes] = ContextVar("asking", default=b"")
