"""What can be told of a recording before anything is opened."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from streams.access.files import FileAccess
from streams.address import parse_address
from streams.errors import SourceDenied, SourceUsageError, StreamError
from streams.sources.base import SourceKind
from tracker.daemon.config.schema import SecurityConfig
from tracker.daemon.sources.client_sources import are_own
from tracker.errors import UsageError
from tracker.protocol.fields import StreamSettings


def check_recording(settings: StreamSettings, roots: Sequence[Path] | None = None) -> None:
    """Refuse a recording that cannot be made.

    Args:
        settings: Of the stream.
        roots: Folders that it may be in; None for all.

    Raises:
        UsageError: It cannot.
    """
    record = settings.record
    if record is None:
        return
    if find_spec("mcap") is None:
        raise UsageError("recording needs the package mcap", "pip install 'trackd[record]'")
    if not record.dir.is_absolute():
        raise UsageError(f"record.dir {record.dir} is not a path from the root", "write all of it")
    try:
        FileAccess(roots).resolve(record.dir)
    except SourceDenied as error:
        hint = "the daemon's configuration lists folders in security.record_roots"
        raise UsageError(f"clients may not have recorded to {record.dir}", hint) from error
    except SourceUsageError as error:
        raise UsageError("record.dir holds control characters", "rename the folder") from error
    if _kind(settings) is SourceKind.PATTERN:
        raise UsageError("a test pattern has no packets to record", "leave record out")


def record_roots(config: SecurityConfig) -> tuple[Path, ...] | None:
    """Folders that clients may have recorded to; None for all."""
    return config.record_roots if are_own(config) or config.record_roots is not None else ()


def _kind(settings: StreamSettings) -> SourceKind | None:
    try:
        return parse_address(settings.url, settings.options).kind
    except StreamError:  # told where it is opened
        return None
