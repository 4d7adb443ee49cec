"""Status of the daemon at one moment: what metrics, health and lists of streams are made of.

Each part counts in an object of its own and hands out copies; `collect` puts them together.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from tracker.daemon.telemetry.histogram import HistogramCounts
from tracker.daemon.telemetry.latency import Latency
from tracker.daemon.telemetry.metric_fields import counter, counts_by, gauge
from tracker.protocol.fields import BudgetInfo, Encoding
from tracker.protocol.replies import ObjectInfo, RecordingInfo, StreamState, ZoneCounts
from tracker.types import ObjectState


@dataclass(slots=True)
class RecordingStatus:
    """The recording of a stream's packets, as its worker has it.

    Attributes:
        state: "waiting" for a first key frame, "on", "off", or "failed".
        error: Why it failed, one line; "" otherwise.
    """

    state: Literal["off", "waiting", "on", "failed"] = "off"
    error: str = ""
    video_bytes: int = counter("video_bytes", "Bytes of video recorded.")
    segments: int = counter("segments", "Segments begun.")
    removed_segments: int = counter("removed_segments", "Segments removed, old or too much.")
    dropped_packets: int = counter("dropped_packets", "Packets that the disk was too slow for.")
    failures: int = counter("failures", "Times that a segment could not be written.")
    snapshots: int = counter("snapshots", "Snapshots of objects noted.")
    snapshot_bytes: int = counter("snapshot_bytes", "Bytes of these, before compression.")
    left_out_snapshots: int = counter(
        "left_out_snapshots", "Snapshots that were too large, or could not be taken."
    )


@dataclass(slots=True)
class MessagesRecordingStatus:
    """The recording of what was sent of a stream, as the daemon's process has it.

    Attributes:
        error: Why it stopped, one line; "" otherwise.
    """

    error: str = ""
    messages: int = counter("messages", "Messages recorded.")
    message_bytes: int = counter("message_bytes", "Bytes of MCAP files written.")
    dropped_messages: int = counter("dropped_messages", "Messages that the disk was too slow for.")


@dataclass(slots=True)
class SourceStatus:
    """A stream's source, as its supervisor has it.

    Attributes:
        url: The address without its credentials.
        healthy: The thread that watches it runs, where it should.
        state: How it is.
        error: Why it is retrying or failed, one line without credentials; "" otherwise.
        policy: As resolved for the source; None before it was first open.
        decode_s: Seconds spent decoding.
        recording: Of its packets; None where none is wanted.
    """

    url: str
    healthy: bool = True
    state: StreamState = StreamState.CONNECTING
    error: str = ""
    policy: Literal["latest", "every"] | None = None
    decode_s: float = 0.0
    recording: RecordingStatus | None = None
    frames: int = counter("frames", "Frames decoded.")
    dropped: int = counter("dropped_frames", "Frames dropped because a newer one was there.")
    reconnects: int = counter("reconnects", "Times its source was opened again after a failure.")
    corrupt_packets: int = counter("corrupt_packets", "Packets that could not be decoded.")
    abandoned_threads: int = counter("abandoned_threads", "Readers that hung and were left.")
    frames_waiting: int = gauge("waiting_frames", "Frames that wait for the tracker.")
    silent_s: float | None = gauge(
        "silent_seconds", "Seconds since the newest frame.", default=None
    )


@dataclass(slots=True)
class FindingStatus:
    """A stream's finder.

    Attributes:
        finder: Its name.
        error: Why the newest search failed; "" where it did not.
        latency: Seconds that a search takes.
        refused: Proposals that became no object, by the reason.
    """

    finder: str
    error: str = ""
    latency: Latency = field(default_factory=Latency)
    refused: Mapping[str, int] = field(default_factory=dict)
    searches: int = counter("searches", "Pictures that its finder looked at.")
    failures: int = counter("search_failures", "Searches that failed; the events tell why.")
    skipped: int = counter("search_skipped_frames", "Frames that made room for newer, unseen.")
    proposals: int = counter("proposals", "Proposals of its finder.")
    left_out: int = counter("proposals_left_out", "Proposals that were nonsense or too many.")


@dataclass(slots=True)
class TrackingStatus:
    """A stream in the scheduler.

    Attributes:
        width: Of the newest tracked frame, in pixels; 0 before the first.
        height: Likewise.
        objects: The objects on the newest frame.
        next_object_id: Given to the next new object.
        newest_seq: `seq` of the newest tracked frame; None before the first.
        budget: What is spent on a frame; None without a deadline.
        stages: Seconds spent on a frame, by stage: "decode", "queue", "encode", "track".
        finding: Of its finder; None where it has none.
        zones: Counts of its zones and lines.
    """

    width: int = 0
    height: int = 0
    objects: tuple[ObjectInfo, ...] = ()
    next_object_id: int = 1
    newest_seq: int | None = None
    budget: BudgetInfo | None = None
    stages: Mapping[str, Latency] = field(default_factory=dict)
    finding: FindingStatus | None = None
    zones: tuple[ZoneCounts, ...] = ()
    tracked: int = counter("tracked_frames", "Frames tracked.")
    failed: int = counter("failed_frames", "Frames that the tracker failed on; the log tells why.")
    zone_events: int = counter("zone_events", "Events of its zones and lines.")
    fps: float = gauge("fps", "Frames tracked per second, lately.")
    bank_bytes: int = gauge("bank_bytes", "Bytes held by the memories of its objects.")
    commands_waiting: int = gauge("waiting_commands", "Commands not yet applied.")
    found: int = counter("found_objects", "Objects that its finder added.")
    expired: int = counter("expired_objects", "Of these, removed since they were lost for long.")


@dataclass(frozen=True, slots=True)
class PublishingStatus:
    """A stream's masks on their way out.

    Attributes:
        wire: Seconds from tracked to encoded.
        total: Seconds from the arrival of the packet to encoded.
    """

    wire: Latency
    total: HistogramCounts


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream, as each of the parts that work for it has it.

    Attributes:
        stream: Its name.
        encoding: How its masks are sent.
        source: Where its frames come from.
        tracking: Where they are tracked.
        publishing: Where they leave; None before the first message.
        worker: Name of the worker that has it.
        recorded: The recording of what was sent; None where none is wanted.
        owner_epoch: As `stream.add` gave it.
    """

    stream: str
    encoding: Encoding
    source: SourceStatus
    tracking: TrackingStatus
    publishing: PublishingStatus | None = None
    worker: str | None = None
    recorded: MessagesRecordingStatus | None = None
    owner_epoch: int = 0

    @property
    def recording(self) -> RecordingInfo | None:
        """The recording as replies have it."""
        video, messages = self.source.recording, self.recorded or MessagesRecordingStatus()
        if video is None:
            return None
        return RecordingInfo(
            state=video.state,
            error=video.error or messages.error,
            segments=video.segments,
            removed_segments=video.removed_segments,
            bytes=video.video_bytes + messages.message_bytes,
            dropped_packets=video.dropped_packets,
            dropped_messages=messages.dropped_messages,
        )

    @property
    def objects(self) -> Mapping[ObjectState, int]:
        """Number of objects in each state; a state left out has none."""
        return Counter(obj.state for obj in self.tracking.objects)

    @property
    def stages(self) -> Mapping[str, Latency]:
        """Seconds spent on a frame, by stage, that of publishing included."""
        wire = {} if self.publishing is None else {"wire": self.publishing.wire}
        return {**self.tracking.stages, **wire}

    @property
    def total(self) -> HistogramCounts | None:
        """Seconds from the arrival of the packet to the message; None before the first."""
        return None if self.publishing is None else self.publishing.total

    def flat(self) -> dict[str, Any]:
        """All fields of all parts side by side, as replies have them."""
        parts = (self.source, self.tracking)
        found = {one.name: getattr(part, one.name) for part in parts for one in fields(part)}
        own: dict[str, Any] = {
            "stream": self.stream,
            "encoding": self.encoding,
            "total": self.total,
        }
        own |= {"worker": self.worker, "recording": self.recording}
        own["owner_epoch"] = self.owner_epoch
        return found | own | {"objects": self.objects, "stages": self.stages}


@dataclass(slots=True)
class DataStatus:
    """The data sockets.

    Attributes:
        healthy: Their thread runs and they listen.
        busy_s: Seconds that it has been at one piece of work.
        sent: Messages by kind of topic, as `Topic` has them, and "latest" for those of the
            latest-only socket with its repeats; each once, however many subscribe.
        dropped: What made room for newer ones unsent, by kind: "frame", "event".
        resets: A socket is closed to all where subscriptions are too many.
        wire: Seconds from tracked to encoded, of all streams.
    """

    healthy: bool = True
    busy_s: float = 0.0
    wire: Latency = field(default_factory=Latency)
    sent: dict[str, int] = field(
        default_factory=dict,
        metadata=counts_by("kind", "sent_messages", "Messages sent, by kind of topic."),
    )
    sent_bytes: int = counter("sent_bytes", "Bytes of these, once each.")
    dropped: dict[str, int] = field(
        default_factory=dict,
        metadata=counts_by("kind", "outbox_dropped", "Dropped unsent to make room for newer."),
    )
    waiting: int = gauge("outbox_waiting", "Waits to be sent.")
    failed: int = counter("encoding_failures", "Could not be encoded.")
    subscriptions: int = gauge("subscriptions", "Topics subscribed to.")
    resets: int = counter("socket_resets", "Data sockets opened again: too many subscriptions.")


@dataclass(slots=True)
class ControlStatus:
    """The control socket.

    Attributes:
        healthy: Its thread runs.
        busy_s: Seconds that it has been at one piece of work.
        requests: What is no operation counts as one and the same.
        refused_connections: By reason: "key", "user", "limit", "shut out", "unread", "behind".
        changes: Requests to change something, by operation and then by error code or "ok".
    """

    healthy: bool = True
    busy_s: float = 0.0
    changes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    requests: dict[str, int] = field(
        default_factory=dict, metadata=counts_by("op", "requests", "Requests, by operation.")
    )
    replies: dict[str, int] = field(
        default_factory=dict, metadata=counts_by("code", "replies", "Replies, by error code or ok.")
    )
    unanswerable: int = counter("unanswerable_messages", "Messages with too long an address.")
    undelivered: int = counter(
        "undelivered_replies", "Replies to clients that were gone or did not read."
    )
    refused_clients: int = counter("refused_clients", "Connections whose key is not allowed.")
    refused_connections: dict[str, int] = field(
        default_factory=dict,
        metadata=counts_by(
            "reason",
            "refused_connections",
            "Connections refused or closed: key or user not allowed, too many, or unread.",
        ),
    )
    unread_bytes: int = gauge("unread_bytes", "Bytes that clients sent and nobody read yet.")
    in_progress: int = gauge("requests_in_progress", "Requests that wait for a result.")
    remembered: int = gauge("remembered_replies", "Replies kept for retried requests.")
    remembered_bytes: int = gauge("remembered_reply_bytes", "Bytes of these.")
    clients: int = gauge("clients", "Clients that are counted for.")


@dataclass(slots=True)
class SavingStatus:
    """Status of saving what clients did.

    Attributes:
        healthy: The thread that saves runs.
        problem: Why a restart would lose something; "" where it would not.
    """

    healthy: bool = True
    problem: str = ""
    age_s: float | None = gauge(
        "saved_age_seconds", "Seconds since the list of streams was last written.", default=None
    )
    failures: int = counter(
        "save_failures", "Lists of streams and snapshots of objects that could not be written."
    )


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker.

    Attributes:
        name: Of the worker.
        healthy: The thread that tracks runs, or the one that watches its process.
        busy_s: Seconds that the thread that tracks has been at one piece of work.
        pid: Of its process; None in the daemon's own.
    """

    name: str
    healthy: bool = True
    busy_s: float = 0.0
    pid: int | None = None
    abandoned_threads: int = 0
    ready: int = gauge("ready", "1 while it tracks, 0 while it is started again.", default=1)
    streams: int = gauge("streams", "Streams that it reads and tracks.")
    threads: int = gauge("threads", "Threads that compute.")
    memory_bytes: float | None = gauge(
        "memory_bytes", "Resident memory of its process.", default=None
    )
    restarts: int = counter("restarts", "Times that it crashed, hung or outgrew its memory.")
    finder_restarts: int = counter("finder_restarts", "Times that its finder process was ended.")
    dropped_frames: int = counter("dropped_frames", "Tracked frames dropped unsent for newer ones.")
    failed: int = counter("encoding_failures", "Frames that could not be encoded.")
    dropped_notes: int = counter("dropped_notes", "Notes for recordings that were dropped.")


@dataclass(slots=True)
class SinkStatus:
    """A sink of events.

    Attributes:
        name: "mqtt", or "webhook-1" and so on.
        error: Why it cannot be reached, one line; "" where it can.
    """

    name: str
    error: str = ""
    connected: int = gauge("connected", "1 unless it could not be reached.", default=1)
    waiting: int = gauge("waiting_events", "Events that wait to be sent or confirmed.")
    waiting_bytes: int = gauge("waiting_bytes", "Bytes of these.")
    sent: int = counter("sent_events", "Events that it confirmed.")
    dropped: int = counter("dropped_events", "Events that made room for newer ones.")
    refused: int = counter("refused_events", "Events that it does not want.")
    failures: int = counter("failures", "Times that it could not be reached, or failed.")


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """All of it.

    Attributes:
        healthy: The thread that tracks runs.
        ready: The model is warm and the daemon is not about to end.
        version: Of trackd.
        model: Its name.
        device: Where it runs, such as "cpu".
        busy_s: Seconds that the thread that tracks has been at one piece of work.
        workers: That read and track the streams.
        sinks: That events are sent to.
        saving: Of the state; None where nothing is kept.
    """

    healthy: bool
    ready: bool
    uptime_s: float
    version: str
    model: str
    device: str
    streams: tuple[StreamStatus, ...] = ()
    data: DataStatus = field(default_factory=DataStatus)
    control: ControlStatus = field(default_factory=ControlStatus)
    busy_s: float = 0.0
    workers: tuple[WorkerStatus, ...] = ()
    sinks: tuple[SinkStatus, ...] = ()
    saving: SavingStatus | None = None
    log_dropped: int = counter("log_dropped_lines", "Lines of the log that nobody took.")
    abandoned_threads: int = gauge(
        "abandoned_threads", "Readers that hang and were left, those of removed streams included."
    )

    def flat(self) -> dict[str, Any]:
        """All fields as the reply to `metrics` has them."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return found | {"streams": [stream.flat() for stream in self.streams]}
