"""Sink: a place that events are sent to, behind a queue and a thread of its own."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from streams.access.bounded_file import read_at_most
from tracker.daemon.notify.queue import QueuedEvent
from tracker.daemon.telemetry.status import SinkStatus
from tracker.errors import UsageError
from tracker.protocol.data import EventName

_MAX_SECRET_BYTES = 4096


class Sink(Protocol):
    """Sends events; `put` and `status` from any thread, and neither waits."""

    def start(self) -> None:
        """Begin to send."""

    def put(self, event: QueuedEvent) -> None:
        """Send an event, if the sink takes it."""

    def status(self) -> SinkStatus:
        """Current status."""

    def stop(self, timeout_s: float) -> None:
        """Send what waits, where it can be sent in that time, and end."""


def matches(name: EventName, patterns: Sequence[str]) -> bool:
    """True if the name of an event is that of one of the patterns, such as `zone.*`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def read_secret(path: Path, least_bytes: int = 1) -> bytes:
    """The secret in a file, without the end of its last line.

    Raises:
        UsageError: It cannot be read, or is shorter than `least_bytes`; never holds what is in it.
    """
    try:
        secret = read_at_most(path, _MAX_SECRET_BYTES).rstrip(b"\r\n")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "give a small file") from error
    if len(secret) < least_bytes:
        raise UsageError(f"the secret in {path} has {len(secret)} bytes", f"use {least_bytes}")
    return secret
