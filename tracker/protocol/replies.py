"""Replies on the control socket."""

from enum import StrEnum
from typing import Any, Literal

from tracker.protocol.fields import (
    BudgetInfo,
    Encoding,
    Message,
    RleMask,
    SavedObject,
    ZoneSettings,
    renamed,
)
from tracker.types import ObjectState


class ErrorCode(StrEnum):
    """Reason that a request was refused, for clients to branch on: fixed within a version."""

    BAD_REQUEST = "bad_request"  # not JSON, or not a message of the schema
    UNKNOWN_OP = "unknown_op"
    UNSUPPORTED_VERSION = "unsupported_version"
    TOO_LARGE = "too_large"
    FORBIDDEN = "forbidden"  # the client's role, or the streams it may see, do not allow it
    RATE_LIMITED = "rate_limited"
    LIMIT = "limit"  # as many streams, objects or clicks as are allowed
    BUSY = "busy"  # as many commands are waiting as are allowed
    UNKNOWN_STREAM = "unknown_stream"
    STREAM_EXISTS = "stream_exists"
    OLD_OWNER = "old_owner"  # the stream has an owner of a higher epoch, or of the same
    BAD_SOURCE = "bad_source"
    NO_FRAME = "no_frame"  # the stream has given no frame yet
    FRAME_GONE = "frame_gone"  # the addressed frame is older than the history, or was never tracked
    UNKNOWN_OBJECT = "unknown_object"
    UNKNOWN_ZONE = "unknown_zone"
    BAD_PROMPT = "bad_prompt"
    SNAPSHOT = "snapshot"  # no state folder, or a snapshot that is missing, damaged or foreign
    FINDER = "finder"  # it cannot be loaded, raised, took too long, or its process ended
    TIMEOUT = "timeout"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


class ErrorBody(Message):
    """Error, for a program (`code`) and for a person."""

    code: ErrorCode
    message: str
    hint: str = ""


class Reply(Message):
    """The answer to the request of the same id; id is "" where the request's could not be read."""

    v: Literal[1] = 1
    id: str
    ok: bool
    result: dict[str, Any] | None = None
    error: ErrorBody | None = None


class StreamState(StrEnum):
    """State of a stream."""

    CONNECTING = "connecting"
    RUNNING = "running"
    RETRYING = "retrying"  # waits to be opened again
    FAILED = "failed"  # an error that time alone does not fix; retried slowly
    PAUSED = "paused"
    ENDED = "ended"  # a file that was read to its end


class ObjectInfo(Message):
    """An object in a reply.

    Attributes:
        box: Edges x0, y0, x1, y1 of its mask in pixels; None where it shows none.
        score: Probability that it is on the newest frame, 0..1.
        updated: Whether it was looked for on the newest frame, as in the `masks` message.
        identity: As in the `masks` message.
        found: A finder added it, and it is removed where it stays without a mask.
    """

    id: int
    label: str | None
    state: ObjectState
    score: float
    box: tuple[int, int, int, int] | None
    updated: bool = renamed("updated", before="fresh", default=True)
    identity: float | None = None
    found: bool = False


class ObjectsResult(Message):
    """Result of `object.list`."""

    stream: str
    objects: list[ObjectInfo]


class PromptResult(Message):
    """Result of `prompt` and `object.correct`.

    Attributes:
        object: The object as it now stands on the newest frame.
        created: It was not tracked before.
        frame_seq: `frame.seq` of the frame that the prompt was applied to.
        newest_seq: `frame.seq` of the newest frame.
        replayed_frames: Frames tracked again from there to the newest.
        deferred_frames: Frames that are still to be, where `defer_replay` asked for it.
        mask: On the frame that the prompt was applied to, where `return_mask` asked for it.
    """

    object: ObjectInfo
    created: bool
    frame_seq: int
    newest_seq: int
    replayed_frames: int = renamed("replayed_frames", before="caught_up")
    deferred_frames: int = 0
    mask: RleMask | None = None


class SnapshotPiece(Message):
    """Result of `snapshot.read`.

    Attributes:
        digest: SHA-256 of the whole snapshot, in hexadecimal: its name for the next pieces.
        size: Bytes of the whole.
        data: The piece in base64.
        objects: That were tracked or listed when it was taken.
        next_object_id: Ids below it are not given to new objects.
    """

    digest: str
    size: int
    data: str
    objects: tuple[SavedObject, ...]
    next_object_id: int


class ProposalInfo(Message):
    """An object that a finder proposes.

    Attributes:
        box: Edges x0, y0, x1, y1 in pixels.
        score: The finder's own, 0..1.
        label: The phrase or class that it was found by; None where there is none.
        area: Pixels of its mask, or of its box where it has none.
    """

    box: tuple[float, float, float, float]
    score: float
    label: str | None
    area: float


class FindResult(Message):
    """Result of `find`.

    Attributes:
        finder: Its name.
        frame_seq: `frame.seq` of the frame that it was shown.
        proposals: The best first.
        left_out: Proposals that are not here: nonsense, or more than were asked for.
        took_s: Seconds that the search took.
    """

    finder: str
    frame_seq: int
    proposals: list[ProposalInfo]
    left_out: int
    took_s: float


class FindingInfo(Message):
    """A stream's finder in a reply; counters only grow while the stream is there.

    Attributes:
        finder: Its name.
        error: Why the newest search failed; "" where it did not.
        searches: Searches that are over.
        failures: Of these, those that failed.
        found: Objects that were added.
        expired: Of these, those that were removed since they were lost for long.
        median_s: Seconds that a search takes.
    """

    finder: str
    error: str
    searches: int
    failures: int
    found: int
    expired: int
    median_s: float


class RecordingInfo(Message):
    """The recording of a stream; counters only grow while the daemon, or its worker, runs.

    Attributes:
        state: "waiting" for a first key frame, "on", "off", or "failed".
        error: Why it failed, one line; "" otherwise.
        segments: Segments begun.
        removed_segments: Segments removed, since they were old or too much.
        bytes: Written, of video and of messages.
        dropped_packets: Packets that the disk was too slow for.
        dropped_messages: Messages that it was too slow for.
    """

    state: Literal["off", "waiting", "on", "failed"]
    error: str
    segments: int
    removed_segments: int
    bytes: int
    dropped_packets: int
    dropped_messages: int


class StreamInfo(Message):
    """A stream in a reply; counters only grow while the daemon runs.

    Attributes:
        url: The address without its credentials.
        state: How it is.
        error: Why it is retrying or failed, one line; "" otherwise.
        policy: As resolved for the source; None before it was first open.
        encoding: How its masks are sent.
        width: Of the newest frame, in pixels; 0 before the first.
        height: Likewise.
        fps: Frames tracked per second, lately.
        frames: Frames decoded.
        tracked: Frames tracked.
        dropped: Frames dropped because a newer one was there.
        reconnects: Times that it was opened again after a failure.
        objects: Objects tracked.
        newest_seq: `frame.seq` of the newest tracked frame; None before the first.
        budget: What is spent on a frame; None where the stream has no deadline.
        worker: Name of the worker that has it; None from daemons before 0.3.
        finding: Its finder; None where it has none.
        recording: None where the stream has no settings for it.
        owner_epoch: As `stream.add` gave it.
    """

    stream: str
    url: str
    state: StreamState
    error: str
    policy: Literal["latest", "every"] | None
    encoding: Encoding
    width: int
    height: int
    fps: float
    frames: int
    tracked: int
    dropped: int
    reconnects: int
    objects: int
    newest_seq: int | None
    budget: BudgetInfo | None = renamed("budget", before="effort", default=None)
    worker: str | None = None
    finding: FindingInfo | None = None
    recording: RecordingInfo | None = None
    owner_epoch: int = 0


class StreamsResult(Message):
    """Result of `stream.list`."""

    streams: list[StreamInfo]


class ZoneCounts(Message):
    """Counts of a zone or line, since it was set or the objects were put back.

    Attributes:
        zone: Its name.
        count: Objects in the zone; None for a line.
        crossed_in: Crossings of the line in this direction; None for a zone.
        crossed_out: Likewise in the other.
    """

    zone: str
    count: int | None = None
    crossed_in: int | None = None
    crossed_out: int | None = None


class ZoneInfo(Message):
    """A zone or line in a reply.

    Attributes:
        zone: Its name.
        settings: As it was set.
        counts: None where its stream has not taken it in yet.
    """

    zone: str
    settings: ZoneSettings
    counts: ZoneCounts | None


class ZonesResult(Message):
    """Result of `zone.list`."""

    stream: str
    zones: list[ZoneInfo]


class ChangeResult(Message):
    """Result of `stream.add`, `.remove`, `.pause`, `.resume`, `zone.set` and `zone.remove`.

    It comes when the change is on the disk, or is known not to be.

    Attributes:
        durable: A restart of the daemon finds it; None where it keeps nothing, having no state
            folder.
        reason: Why not, one line; "" otherwise.
    """

    durable: bool | None = None
    reason: str = ""


class PingResult(Message):
    """Result of `ping`."""

    version: str
    ready: bool
    uptime_s: float
