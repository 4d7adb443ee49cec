"""Messages between the daemon's threads. All are frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streams.frame import Frame
from tracker.daemon.tracking.motion import Motion
from tracker.finders.births import BirthPolicy, Refusal
from tracker.protocol.data import EventName, ZoneEvent
from tracker.protocol.fields import (
    BudgetInfo,
    FrameAddress,
    RleMask,
    StreamSettings,
    ZoneSettings,
)
from tracker.protocol.replies import ErrorCode
from tracker.types import ObjectState, TrackResult


class RequestError(Exception):
    """A request that is answered with a typed error.

    Attributes:
        code: For programs.
        message: What is wrong, for a person; never holds credentials.
        hint: How to fix it, or "".
    """

    def __init__(self, code: ErrorCode, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.code = code
        self.message = message
        self.hint = hint


class BirthRefusedError(RequestError):
    """A proposal that becomes no object, since it is one already or there are too many."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(ErrorCode.LIMIT, str(reason))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A frame on its way to the tracker.

    Attributes:
        frame: The picture; `seq` goes on over reconnects.
        sender_ns: The camera's own clock, where it sends it.
        decode_s: Seconds spent decoding it.
        arrived_s: `time.monotonic()` when its packet arrived, as near as is known.
        queued_s: `time.monotonic()` when it was put into the mailbox.
        epoch: With `frame.seq` it names the frame for good.
    """

    frame: Frame
    sender_ns: int | None
    decode_s: float
    arrived_s: float
    queued_s: float
    epoch: str | None = None


@dataclass(frozen=True, slots=True)
class Tracked:
    """A tracked frame on its way to the subscribers.

    Attributes:
        live: The frame.
        result: All objects on it.
        settings: How its stream sends masks and previews.
        dropped: Frames of the stream dropped since the one before.
        begun_s: `time.monotonic()` when tracking it began.
        tracked_s: `time.monotonic()` when it was tracked.
        budget: What was spent on it; None where the stream has no deadline.
        motions: Velocities by object id, where the stream's settings want them.
        owner_epoch: Of its stream.
    """

    live: LiveFrame
    result: TrackResult
    settings: StreamSettings
    dropped: int
    begun_s: float
    tracked_s: float
    budget: BudgetInfo | None = None
    motions: Mapping[int, Motion] = field(default_factory=dict)
    owner_epoch: int = 0

    @property
    def stream(self) -> str:
        """Name of its stream."""
        return self.live.frame.stream

    @property
    def queue_s(self) -> float:
        """Seconds that the frame waited, while it was not encoded either."""
        return self.begun_s - self.live.queued_s - self.result.times.ahead_s


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a stream or an object, on its way to the subscribers; see `EventMessage`."""

    stream: str
    name: EventName
    at_ns: int
    frame_seq: int | None = None
    object_id: int | None = None
    state: ObjectState | None = None
    label: str | None = None
    text: str = ""
    captured_ns: int | None = None
    zone: ZoneEvent | None = None
    owner_epoch: int = 0


@dataclass(frozen=True, slots=True)
class FoundBy:
    """Origin of an object that a finder proposed.

    Attributes:
        finder: Its name.
        score: The finder's own.
        policy: Limits; objects that were not there when it was asked are looked at only now.
        known_ids: Objects that the proposal was compared with.
    """

    finder: str
    score: float
    policy: BirthPolicy
    known_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class PromptCommand:
    """Add or correct an object; fields as in the request.

    Attributes:
        wait_s: Longest wait for the first frame of the stream.
        draft: A new object is a draft, see `tracker.daemon.tracking.drafts`.
        return_mask: The reply holds the mask on the frame that the prompt was drawn on.
        defer_replay: The object is tracked again on the frames since after the reply.
        text: Words that a finder looks for, in place of a place.
        finder: Its name; the stream's own for None.
        found: The finder's proposal that this is; None for prompts of clients.
    """

    object_id: int | None
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: RleMask | None = field(default=None, repr=False)
    label: str | None = None
    frame: FrameAddress | None = None
    normalized: bool = False
    must_exist: bool = False
    wait_s: float = 0.0
    draft: bool = False
    return_mask: bool = False
    defer_replay: bool = False
    text: str | None = None
    finder: str | None = None
    found: FoundBy | None = None


@dataclass(frozen=True, slots=True)
class FindCommand:
    """Say what a finder proposes; fields as in the request."""

    finder: str | None
    text: str | None
    frame: FrameAddress | None
    min_score: float
    max_proposals: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class AcceptCommand:
    """Show a draft to all."""

    object_id: int


@dataclass(frozen=True, slots=True)
class RemoveCommand:
    """Forget an object."""

    object_id: int


@dataclass(frozen=True, slots=True)
class ResetCommand:
    """Forget what an object looks like."""

    object_id: int


@dataclass(frozen=True, slots=True)
class RelabelCommand:
    """Rename an object."""

    object_id: int
    label: str | None


@dataclass(frozen=True, slots=True)
class SetZonesCommand:
    """Watch these zones, by name, in place of those before; what stays as it was goes on."""

    zones: Mapping[str, ZoneSettings]


@dataclass(frozen=True, slots=True)
class ListCommand:
    """Say what is tracked."""


@dataclass(frozen=True, slots=True)
class SaveCommand:
    """Give a snapshot, as bytes.

    Attributes:
        last: Nothing of the stream is sent after it: another worker goes on from here.
    """

    last: bool = False


@dataclass(frozen=True, slots=True)
class RestoreCommand:
    """Put objects back, in place of all that are there.

    Attributes:
        path: The snapshot.
        data: What is in it, so that nobody waits for the disk; None to read it.
        lost: Do not read it: list `objects`, all lost.
        objects: Ids and labels of those that come back, lost where the snapshot lacks them; None
            for those of the snapshot.
        next_object_id: Ids below it are not given to new objects.
        found: Ids of those that a finder found.
    """

    path: Path
    lost: bool = False
    objects: tuple[tuple[int, str | None], ...] | None = None
    next_object_id: int = 1
    data: bytes | None = field(default=None, repr=False)
    found: tuple[int, ...] = ()


Command = (
    PromptCommand
    | FindCommand
    | AcceptCommand
    | RemoveCommand
    | ResetCommand
    | RelabelCommand
    | SetZonesCommand
    | ListCommand
    | SaveCommand
    | RestoreCommand
)
