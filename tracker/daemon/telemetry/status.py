"""How the daemon is at one moment: what metrics and health are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tracker.daemon.telemetry.histogram import HistogramCounts
from tracker.daemon.telemetry.latency import Latency
from tracker.protocol.fields import EffortInfo
from tracker.protocol.replies import StreamState
from tracker.types import ObjectState


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream. Counters only grow while the daemon runs.

    Attributes:
        stream: Its name.
        state: How its source is.
        fps: Frames tracked per second, lately.
        frames: Frames decoded.
        tracked: Frames tracked.
        failed: Frames that could not be tracked, because of an error that the log holds.
        dropped: Frames dropped because a newer one was there.
        reconnects: Times that its source was opened again after a failure.
        corrupt_packets: Packets that could not be decoded.
        abandoned_threads: Readers that hung and were left behind.
        frames_waiting: In its mailbox.
        commands_waiting: Commands not yet applied.
        objects: How many objects there are of each state; a state left out has none.
        bank_bytes: Held by the memories of its objects.
        effort: What is spent on a frame; None without a deadline.
        silent_s: Seconds since its newest frame; None before the first.
        stages: Seconds spent on a frame, by stage: "decode", "queue", "encode", "track", "wire".
        total: Seconds from the arrival of a packet to the message; None before the first.
    """

    stream: str
    state: StreamState
    fps: float = 0.0
    frames: int = 0
    tracked: int = 0
    failed: int = 0
    dropped: int = 0
    reconnects: int = 0
    corrupt_packets: int = 0
    abandoned_threads: int = 0
    frames_waiting: int = 0
    commands_waiting: int = 0
    objects: Mapping[ObjectState, int] = field(default_factory=dict)
    bank_bytes: int = 0
    effort: EffortInfo | None = None
    silent_s: float | None = None
    stages: Mapping[str, Latency] = field(default_factory=dict)
    total: HistogramCounts | None = None


@dataclass(frozen=True, slots=True)
class DataStatus:
    """The data sockets.

    Attributes:
        healthy: Their thread runs.
        busy_s: Seconds that it has been at one piece of work.
        waiting: Frames and events that wait to be sent.
        dropped: What made room for newer ones there, by kind: "frame", "event".
        failed: What could not be encoded.
        sent: Messages by kind of topic, once each, however many subscribers.
        sent_bytes: Of all messages, likewise.
        subscriptions: Topics, or beginnings of topics, subscribed to.
        resets: How often a socket was opened anew because subscriptions were too many.
        wire: Seconds from tracked to encoded.
    """

    healthy: bool = True
    busy_s: float = 0.0
    waiting: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    sent: Mapping[str, int] = field(default_factory=dict)
    sent_bytes: int = 0
    subscriptions: int = 0
    resets: int = 0
    wire: Latency = field(default_factory=Latency)


@dataclass(frozen=True, slots=True)
class ControlStatus:
    """The control socket.

    Attributes:
        healthy: Its thread runs.
        busy_s: Seconds that it has been at one piece of work.
        requests: Requests by operation; what is no operation counts as one and the same.
        replies: Replies by error code or "ok".
        unanswerable: Messages with too long a return address to answer to.
        undelivered: Replies dropped because their client was gone, or did not read.
        in_progress: Requests that wait for their result.
        remembered: Replies kept for retried requests.
        remembered_bytes: Their size.
        clients: Clients that requests are counted for.
        refused_clients: Connections refused because their key is not allowed.
        refused_connections: Connections to any socket that were refused or closed, by reason:
            "key", "user", "limit", "shut out", "unread", "behind".
        unread_bytes: Held of what connections sent and nobody has read yet.
        changes: Requests to change something, by operation and then by error code or "ok".
    """

    healthy: bool = True
    busy_s: float = 0.0
    requests: Mapping[str, int] = field(default_factory=dict)
    replies: Mapping[str, int] = field(default_factory=dict)
    unanswerable: int = 0
    undelivered: int = 0
    in_progress: int = 0
    remembered: int = 0
    remembered_bytes: int = 0
    clients: int = 0
    refused_clients: int = 0
    refused_connections: Mapping[str, int] = field(default_factory=dict)
    unread_bytes: int = 0
    changes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SavingStatus:
    """How well what clients did is kept.

    Attributes:
        healthy: The thread that saves runs.
        problem: Why a restart would lose something; "" where it would not.
        age_s: Seconds since the list of streams was last written; None before the first time.
        failures: Lists and snapshots that could not be written.
    """

    healthy: bool = True
    problem: str = ""
    age_s: float | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """All of it.

    Attributes:
        healthy: The thread that tracks runs.
        ready: The model is warm and the daemon is not about to end.
        uptime_s: Seconds since the start.
        version: Of trackd.
        model: Its name.
        device: Where it runs, such as "cpu".
        busy_s: Seconds that the thread that tracks has been at one piece of work.
        saving: Of the state; None where nothing is kept.
        log_dropped: Lines of the log that nobody took.
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
    saving: SavingStatus | None = None
    log_dropped: int = 0
