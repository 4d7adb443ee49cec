"""Video in and out: open any source, read its frames, write a video."""

from streams.errors import (
    SourceDenied,
    SourceNotFound,
    SourceTimeout,
    SourceUnreadable,
    SourceUsageError,
    StreamError,
    WriterError,
)
from streams.frame import Frame
from streams.source import Source, SourceInfo, SourceStats, open_source
from streams.writer import VideoWriter

__all__ = [
    "Frame",
    "Source",
    "SourceDenied",
    "SourceInfo",
    "SourceNotFound",
    "SourceStats",
    "SourceTimeout",
    "SourceUnreadable",
    "SourceUsageError",
    "StreamError",
    "VideoWriter",
    "WriterError",
    "open_source",
]
