"""Reader of recordings: the segments of a folder, and the messages and notes in them."""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracker.errors import TrackdError, UsageError
from tracker.extras import import_extra
from tracker.protocol.recording import (
    PARTS_ENCODING,
    SEGMENT_FILE,
    NoteTopic,
    SegmentNote,
    segment_stem,
)
from tracker.replay.span import Span

_MAX_RECORD_BYTES = 2**28
_MCAP_MAGIC = b"\x89MCAP0\r\n"  # a file begins and ends with it


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """A message or a note, as it was stored.

    Attributes:
        topic: That it was sent on, or a `NoteTopic`.
        parts: The parts after the topic.
        at_ns: Wall clock when it was sent.
    """

    topic: str
    parts: tuple[bytes, ...]
    at_ns: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Files of one segment.

    Attributes:
        stem: Their name without suffix.
        messages: The MCAP file; None where it is missing.
        video: The video file; None likewise.
    """

    stem: str
    messages: Path | None
    video: Path | None

    @property
    def files(self) -> "tuple[Path, ...]":
        """Those that are there."""
        return tuple(path for path in (self.messages, self.video) if path is not None)

    @property
    def is_finished(self) -> bool:
        """True if the file of the messages has its end: nothing writes it, nothing cut it short."""
        try:
            with (self.messages or Path()).open("rb") as file:
                file.seek(-len(_MCAP_MAGIC), os.SEEK_END)
                return file.read() == _MCAP_MAGIC
        except OSError:
            return False


class Recording:
    """Recording of one stream.

    Attributes:
        folder: Where its files are.
        stream: Its name.
        segments: In the order of their times.
    """

    def __init__(self, folder: Path, segments: "Sequence[Segment] | None" = None) -> None:
        """Read which files there are, or take some of its `segments`."""
        self.folder = folder
        self.stream = folder.resolve().name
        self.segments = _segments(folder) if segments is None else list(segments)

    def during(self, span: Span) -> "Recording":
        """The segments that hold the frames of a time, and the messages about them."""
        first, last = segment_stem(span.began_ns), segment_stem(span.ended_ns)
        before = [one for one in self.segments if one.stem <= first]
        begun = [one for one in self.segments if first < one.stem <= last]
        after = [one for one in self.segments if one.stem > max(first, last)]
        # Messages about the last frames of a segment may be in the next one.
        return Recording(self.folder, [*before[-1:], *begun, *after[:1]])

    def messages(self) -> "Iterator[RecordedMessage]":
        """Messages and notes in the order in which they were stored.

        Raises:
            TrackdError: A file cannot be read, or is damaged elsewhere than at its end.
        """
        for segment in self.segments:
            yield from segment_messages(segment)


def is_recording(folder: Path) -> bool:
    """True if a folder holds segments of a stream, or folders that do."""
    try:
        return any(_segments(path) for path in _candidates(folder))
    except UsageError:
        return False


def open_recording(folder: Path) -> Recording:
    """The recording of one stream, in its folder or the only one in `record.dir`.

    Raises:
        UsageError: There is none, or there are several.
    """
    found = open_recordings(folder)
    if len(found) > 1:
        names = ", ".join(one.stream for one in found)
        hint = f"give the folder of one, such as {found[0].folder}"
        raise UsageError(f"{folder} holds recordings of several streams: {names}", hint)
    return found[0]


def open_recordings(folder: Path, stream: str | None = None) -> list[Recording]:
    """The recordings in a folder: those of `record.dir`, or of one stream in it.

    Raises:
        UsageError: There is none, or none of that name.
    """
    found = [Recording(path) for path in _candidates(folder) if _segments(path)]
    if not found:
        hint = "give the folder of record.dir, or that of a stream in it"
        raise UsageError(f"no recording in {folder}", hint)
    names = ", ".join(one.stream for one in found)
    chosen = [one for one in found if stream in (None, one.stream)]
    if not chosen:
        raise UsageError(f"no recording of {stream} in {folder}", f"there are {names}")
    return chosen


def segment_messages(segment: Segment) -> Iterator[RecordedMessage]:
    """Messages and notes of a segment; where the file was cut short, those up to there."""
    if segment.messages is None:
        return
    records = import_extra("mcap.records", extra="record", who="reading a recording")
    errors = import_extra("mcap.exceptions", extra="record", who="reading a recording")
    reader = import_extra("mcap.stream_reader", extra="record", who="reading a recording")
    zstandard = import_extra("zstandard", extra="record", who="reading a recording")
    channels = {}
    try:
        with segment.messages.open("rb") as file:
            stream = reader.StreamReader(file, record_size_limit=_MAX_RECORD_BYTES)
            for record in stream.records:
                if isinstance(record, records.Channel):
                    channels[record.id] = record
                elif isinstance(record, records.Message):
                    channel = channels[record.channel_id]
                    parts = _parts(record.data, channel.message_encoding)
                    yield RecordedMessage(channel.topic, parts, record.log_time)
    except (errors.EndOfFile, struct.error):
        return  # the process was ended in the middle
    except (OSError, errors.McapError, KeyError, zstandard.ZstdError) as err:
        raise TrackdError(
            f"{segment.messages} cannot be read: {err}", "leave its segment out: move it away"
        ) from err


def segment_note(segment: Segment) -> SegmentNote | None:
    """The note that a segment begins with; None where it has none."""
    for message in segment_messages(segment):
        if message.topic == NoteTopic.SEGMENT:
            return SegmentNote.model_validate_json(message.parts[0])
    return None


def _parts(data: bytes, encoding: str) -> tuple[bytes, ...]:
    if encoding != PARTS_ENCODING:
        return (data,)
    parts, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        parts.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return tuple(parts)


def _candidates(folder: Path) -> list[Path]:
    return [folder, *(path for path in _listed(folder) if path.is_dir())]


def _listed(folder: Path) -> Sequence[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as err:
        raise UsageError(f"cannot read {folder}: {err.strerror}", "give a folder") from err


def _segments(folder: Path) -> list[Segment]:
    found: dict[str, dict[str, Path]] = {}
    for path in _listed(folder):
        if (match := SEGMENT_FILE.fullmatch(path.name)) is not None:
            found.setdefault(match["stem"], {})[match["suffix"]] = path
    return [
        Segment(stem, files.get("mcap"), files.get("mp4", files.get("mkv")))
        for stem, files in sorted(found.items())
    ]
