"""What a recording holds beside the packets and the messages that were sent.

A recording is a folder for each stream, with a video file (`.mp4` or `.mkv`) and an MCAP file of
the same stem for each segment. Messages are stored under the topics that they were sent on; the
notes below under the topics of `NoteTopic`, as JSON, a `SnapshotNote` with a second part.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from tracker.protocol.fields import BudgetInfo, Epoch, Message, ObjectId

#: Names of the files of a segment: when it began, in UTC.
SEGMENT_FILE = re.compile(r"(?P<stem>\d{8}T\d{6}\.\d{3}Z)\.(?P<suffix>mp4|mkv|mcap)")


def segment_stem(at_ns: int) -> str:
    """Stem of the files of a segment that begins at a time, in ns since 1970; sorts by time."""
    at = datetime.fromtimestamp(at_ns // 10**9, UTC)
    return f"{at:%Y%m%dT%H%M%S}.{at_ns // 10**6 % 1000:03d}Z"


JSON_ENCODING = "json"
PARTS_ENCODING = "trackd-parts"
"""Message encoding of messages with binary parts: each part after the topic, its length before it
as a little-endian uint32."""


class NoteTopic(StrEnum):
    """Topics of an MCAP file that nobody subscribes to: a stream's name has no slash."""

    SEGMENT = "recorder/segment"
    END = "recorder/end"
    FRAMES = "recorder/frames"
    COMMANDS = "recorder/commands"
    SNAPSHOTS = "recorder/snapshots"


class SegmentNote(Message):
    """Beginning of a segment: how to find a frame in its video.

    Attributes:
        stem: Name of its files without the suffix.
        video: Name of the video file.
        began_ns: Wall clock when its first packet was written.
        codec: FFmpeg's name.
        time_base: [numerator, denominator] of seconds, of `first_dts` and of the frames' `pts`.
        first_dts: Added to a time in the video file it gives the `pts` of the frame.
        model: As `describe` has it, of what tracks.
        settings: Those of the stream that its messages depend on: `find` and `measure`.
        version: Of trackd.
    """

    stem: str
    video: str
    began_ns: int
    codec: str
    time_base: tuple[int, int]
    first_dts: int
    version: str
    model: dict[str, Any]
    settings: dict[str, Any]


class EndNote(Message):
    """End of a recording that was switched off, or failed; what follows is of another.

    Attributes:
        reason: One line.
    """

    reason: str


class FrameNote(Message):
    """A frame that was tracked; the others of the video were decoded and dropped.

    Attributes:
        seq: As in its `masks` message.
        epoch: Likewise.
        pts: Likewise.
        time_base: Likewise.
        captured_ns: Likewise.
        threads: That computed.
        budget: As in its `masks` message.
    """

    seq: int
    epoch: Epoch | None
    pts: int | None
    time_base: tuple[int, int] | None
    captured_ns: int
    threads: int
    budget: BudgetInfo | None = None


class CommandNote(Message):
    """A command that was applied to a stream's objects.

    Attributes:
        at_ns: Wall clock when it was applied.
        after_seq: `seq` of the newest tracked frame then; None before the first.
        command: "prompt", "accept", "remove", "reset", "relabel" or "restore".
        fields: Of the command, as the request had them.
        object: Id of the object, also where the request left it out.
        frame_seq: Of a prompt: `seq` of the frame that it was applied to.
    """

    at_ns: int
    after_seq: int | None
    command: Literal["prompt", "accept", "remove", "reset", "relabel", "restore"]
    fields: dict[str, Any]
    object: ObjectId | None = None
    frame_seq: int | None = None


class TrackedFrame(Message):
    """A frame that was tracked: its step in the session, its names, and its size in pixels."""

    step: int
    seq: int
    epoch: Epoch | None
    pts: int | None
    captured_ns: int
    height: int
    width: int


class TrackerState(Message):
    """State of a stream's tracker beside that of its session.

    Attributes:
        frame: The newest frame, if a prompt may name it.
        drafts: Ids of objects that are shown to nobody yet.
        found: Seconds without a mask of the objects that a finder found, by id.
        sightings: Newest (captured_ns, x, y) of each object, by id, from which velocities are made.
    """

    frame: TrackedFrame | None
    drafts: tuple[ObjectId, ...] = ()
    found: dict[ObjectId, float] = Field(default_factory=dict)
    sightings: dict[ObjectId, tuple[tuple[int, float, float], ...]] = Field(default_factory=dict)


class SnapshotNote(Message):
    """Snapshot of a stream's tracker; the second part is its session, as in a state folder.

    Attributes:
        at_ns: Wall clock when it was taken.
        after_seq: As in `CommandNote`.
        state: What a session does not hold.
    """

    at_ns: int
    after_seq: int | None
    state: TrackerState
