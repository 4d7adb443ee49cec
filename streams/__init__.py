"""Video in and out: open any source, read its frames, write a video.

Names are imported when they are first used: `streams.options` and `streams.redaction` are also
for programs that decode nothing, and need no FFmpeg.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streams.errors import (
    SourceDenied,
    SourceNotFound,
    SourceTimeout,
    SourceTooLarge,
    SourceUnreadable,
    SourceUsageError,
    StreamError,
    WriterError,
)
from streams.options import SourceOptions

if TYPE_CHECKING:
    from streams.frame import Frame
    from streams.sources.registry import Source, SourceInfo, SourceStats, open_source
    from streams.video_writer import VideoWriter

__all__ = [
    "Frame",
    "Source",
    "SourceDenied",
    "SourceInfo",
    "SourceNotFound",
    "SourceOptions",
    "SourceStats",
    "SourceTimeout",
    "SourceTooLarge",
    "SourceUnreadable",
    "SourceUsageError",
    "StreamError",
    "VideoWriter",
    "WriterError",
    "open_source",
]

_HOMES = {
    "Frame": "streams.frame",
    "Source": "streams.sources.registry",
    "SourceInfo": "streams.sources.registry",
    "SourceStats": "streams.sources.registry",
    "VideoWriter": "streams.video_writer",
    "open_source": "streams.sources.registry",
}


def __getattr__(name: str) -> Any:
    """Import a name's module, once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
