"""MCAP file of a segment: the messages that were sent, and notes that tie them to the video."""

import json
import struct
from collections.abc import Sequence
from typing import Any, cast

from mcap.writer import Writer

from tracker.daemon.record.segments import SegmentFile
from tracker.protocol.data import EventMessage, FrameMessage, MasksMessage
from tracker.protocol.fields import Message
from tracker.protocol.recording import (
    JSON_ENCODING,
    PARTS_ENCODING,
    CommandNote,
    EndNote,
    FrameNote,
    NoteTopic,
    SegmentNote,
    SnapshotNote,
)

_PROFILE = "trackd"
_SCHEMAS: dict[str, type[Message]] = {
    "masks": MasksMessage,
    "events": EventMessage,
    "frames": FrameMessage,
    NoteTopic.SEGMENT: SegmentNote,
    NoteTopic.END: EndNote,
    NoteTopic.FRAMES: FrameNote,
    NoteTopic.COMMANDS: CommandNote,
    NoteTopic.SNAPSHOTS: SnapshotNote,
}


class McapSegment:
    """Chunked and indexed MCAP file; what was flushed can be read without the end of the file.

    Args:
        file: Where it goes; closed by `close`.
    """

    def __init__(self, file: SegmentFile) -> None:
        self._file = file
        self._out = _Appended(file)
        self._writer: Any = Writer(cast(Any, self._out))  # whose methods have no types
        self._writer.start(profile=_PROFILE)
        self._channels: dict[tuple[str, str], int] = {}
        self._schemas: dict[str, int] = {}

    @property
    def nbytes(self) -> int:
        """Bytes written so far."""
        return self._file.nbytes

    def add_message(self, topic: str, parts: Sequence[bytes], at_ns: int) -> None:
        """Add what was sent: the parts after the topic, or those of a note."""
        if len(parts) == 1:
            self._add(topic, JSON_ENCODING, parts[0], at_ns)
        else:
            framed = b"".join(struct.pack("<I", len(part)) + part for part in parts)
            self._add(topic, PARTS_ENCODING, framed, at_ns)

    def _add(self, topic: str, encoding: str, data: bytes, at_ns: int) -> None:
        channel = self._channels.get((topic, encoding))
        if channel is None:
            channel = self._writer.register_channel(topic, encoding, self._schema(topic))
            self._channels[topic, encoding] = channel
        self._writer.add_message(channel, at_ns, data, at_ns)

    def _schema(self, topic: str) -> int:
        """The schema of messages without parts, and of the first part of others."""
        kind = topic.partition(".")[0]
        if kind not in _SCHEMAS:
            return 0
        if kind not in self._schemas:
            text = json.dumps(_SCHEMAS[kind].model_json_schema()).encode()
            name = f"trackd.{_SCHEMAS[kind].__name__}"
            self._schemas[kind] = self._writer.register_schema(name, "jsonschema", text)
        return self._schemas[kind]

    def flush(self) -> None:
        """Write what was added so far.

        Raises:
            OSError: It cannot be written.
        """
        self._writer.flush()

    def close(self) -> None:
        """Write index and footer, and close the file; raises as `flush`."""
        try:
            self._writer.finish()
            self._out.flush()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        self._file.close()


class _Appended:
    """Binary file that collects what is written and hands it on at `flush`."""

    def __init__(self, file: SegmentFile) -> None:
        self._file = file
        self._pending = bytearray()

    def write(self, data: bytes) -> int:
        self._pending += data
        return len(data)

    def tell(self) -> int:
        return self._file.nbytes + len(self._pending)

    def flush(self) -> None:
        data, self._pending = bytes(self._pending), bytearray()
        self._file.append(data)
