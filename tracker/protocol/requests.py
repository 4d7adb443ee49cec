"""Requests on the control socket, and the table of operations: one JSON object each, by `op`.

An operation is a request class with `@operation`: parsing, schema, roles, metrics' labels and both
clients follow from that row. What it does is a handler in `tracker.daemon.control.operations`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from tracker.protocol.fields import (
    PIECE_BYTES,
    Coordinate,
    Digest,
    FinderName,
    FinderQuery,
    FrameAddress,
    Label,
    Message,
    ObjectId,
    OwnerEpoch,
    RleMask,
    SavedObject,
    Share,
    StreamName,
    StreamSettings,
    ZoneName,
    ZoneSettings,
)
from tracker.protocol.replies import (
    ChangeResult,
    FindResult,
    ObjectInfo,
    ObjectsResult,
    PingResult,
    PromptResult,
    SnapshotPiece,
    StreamsResult,
    ZonesResult,
)
from tracker.protocol.roles import Role

MAX_POINTS = 64


class Request(Message):
    """Fields that every request has.

    Attributes:
        v: Version of the protocol.
        id: Chosen by the client and repeated in the reply. A repeated id, from the same client,
            gets the first reply again and does nothing, so a request can be retried.
        op: Name of the operation.
    """

    v: Literal[1] = 1
    id: Annotated[str, Field(min_length=1, max_length=64)]
    op: str


R = TypeVar("R", bound=Request)


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table of operations.

    Attributes:
        op: Its name.
        request: What clients send.
        result: What the reply holds; `dict` for one that may grow, None for nothing.
        role: The least that a client must have.
        remembered: A retry gets the first reply again; else it is done again, which is harmless.
    """

    op: str
    request: type[Request]
    result: type[Message] | type[dict[str, Any]] | None
    role: Role
    remembered: bool = True

    @property
    def on_stream(self) -> bool:
        """True if it is about one stream; else it is about the daemon."""
        return "stream" in self.request.model_fields

    @property
    def changes(self) -> bool:
        """True if it changes something, and is recorded."""
        return self.role is not Role.WATCH


OPERATIONS: dict[str, Operation] = {}
"""By name."""


def operation(
    *,
    result: type[Message] | type[dict[str, Any]] | None = None,
    role: Role,
    remembered: bool = True,
) -> Callable[[type[R]], type[R]]:
    """Enter a request class, whose `op` is its name, into the table."""

    def enter(request: type[R]) -> type[R]:
        (name,) = get_args(request.model_fields["op"].annotation)
        OPERATIONS[name] = Operation(name, request, result, role, remembered)
        return request

    return enter


@operation(result=PingResult, role=Role.WATCH)
class Ping(Request):
    """Is the daemon there, and is it ready?"""

    op: Literal["ping"]


@operation(result=dict, role=Role.WATCH)
class Describe(Request):
    """Version, model, limits, and the JSON schema of every message."""

    op: Literal["describe"]


@operation(result=dict, role=Role.WATCH)
class Metrics(Request):
    """Counters and latencies, as JSON."""

    op: Literal["metrics"]


@operation(role=Role.ADMIN)
class Shutdown(Request):
    """Drain and exit."""

    op: Literal["shutdown"]


@operation(result=ChangeResult, role=Role.ADMIN)
class StreamAdd(Request, StreamSettings):
    """Open a source and track on it from now on; the reply does not wait for its first frame.

    Attributes:
        owner_epoch: Sent with each message of the stream, for fleets where several daemons may
            believe that they have it: the highest is right.
        paused: Do not open the source before `stream.resume`.
    """

    op: Literal["stream.add"]
    stream: StreamName
    owner_epoch: OwnerEpoch = 0
    paused: bool = False


@operation(result=ChangeResult, role=Role.ADMIN)
class StreamRemove(Request):
    """Close a source and forget its objects.

    Attributes:
        owner_epoch: The stream has an owner of this epoch elsewhere: it is removed here where its
            own is lower, else the request is refused. Removed whatever its epoch where left out.
    """

    op: Literal["stream.remove"]
    stream: StreamName
    owner_epoch: OwnerEpoch | None = None


@operation(result=ChangeResult, role=Role.ADMIN)
class StreamPause(Request):
    """Close a source and keep its objects."""

    op: Literal["stream.pause"]
    stream: StreamName


@operation(result=ChangeResult, role=Role.ADMIN)
class StreamResume(Request):
    """Open a paused source again, or retry a failing one now."""

    op: Literal["stream.resume"]
    stream: StreamName


@operation(result=ObjectsResult, role=Role.ADMIN)
class StreamMove(Request):
    """Have another worker read and track a stream; its objects go on as they are.

    Its source is closed and opened again: a file begins at its start. Prompts cannot name frames of
    before, and drafts are given up.

    Attributes:
        worker: Name of the worker, as `metrics` has it.
    """

    op: Literal["stream.move"]
    stream: StreamName
    worker: Annotated[str, Field(pattern=r"^[0-9]{1,3}$")]


@operation(role=Role.ADMIN)
class StreamRecord(Request):
    """Record a stream from now on, or stop, until the daemon is started again.

    Only where its settings have `record`. What failed, such as on a full disk, is tried again.
    """

    op: Literal["stream.record"]
    stream: StreamName
    on: bool


@operation(result=StreamsResult, role=Role.WATCH)
class StreamList(Request):
    """All streams and how they are."""

    op: Literal["stream.list"]


def _few(value: object) -> object:
    """A list that is short enough to look at each of its values."""
    if isinstance(value, list | tuple) and len(value) > MAX_POINTS:
        raise ValueError(f"give at most {MAX_POINTS}, not {len(value)}")
    return value


_FEW = BeforeValidator(_few)


class _Place(Request):
    """Place of an object on a frame: clicks, a box, both, or a mask."""

    stream: StreamName
    points: Annotated[
        tuple[tuple[Coordinate, Coordinate], ...], Field(max_length=MAX_POINTS), _FEW
    ] = ()
    labels: Annotated[tuple[Literal[0, 1], ...], Field(max_length=MAX_POINTS), _FEW] | None = None
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None
    mask: RleMask | None = None
    frame: FrameAddress | None = None
    normalized: bool = False
    wait_s: Annotated[float, Field(ge=0, le=300)] = 0.0
    return_mask: bool = False
    defer_replay: bool = False

    @property
    def _is_drawn(self) -> bool:
        return self.mask is not None or self.box is not None or bool(self.points)

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if self.labels is not None and len(self.labels) != len(self.points):
            raise ValueError(f"{len(self.points)} points but {len(self.labels)} labels")
        if not self._is_drawn and getattr(self, "text", None) is None:
            raise ValueError("give points, a box or a mask")
        if self.mask is not None and (self.points or self.box is not None):
            raise ValueError("give a mask or clicks, not both")
        return self


@operation(result=PromptResult, role=Role.PROMPT)
class PromptObject(_Place):
    """Track an object, or correct one that is tracked.

    Attributes:
        object: Its id; without one the daemon gives the next free id.
        points: Clicks (x, y).
        labels: One per click: 1 on the object, 0 off it; all 1 where left out.
        box: x0, y0, x1, y1: left, top, right, bottom edge.
        mask: Mask at the size of the frame.
        label: A name for the object.
        frame: The frame that all this was drawn on; the newest where left out.
        normalized: Coordinates are parts of the width and height, 0..1, in place of pixels.
        wait_s: Longest wait for the first frame of a stream that has none yet, in seconds; a
            source that fails meanwhile is an error at once. No longer than the daemon's
            `control.timeout_s` allows.
        return_mask: The reply holds the object's mask on the frame that this was drawn on.
        defer_replay: Reply before the object is tracked again on the frames since, which is done
            next: the reply says how many are left, and the object has no box and no mask on the
            newest frame until then. For people, who wait for `return_mask`.
        draft: A new object is a draft: tracked, but in no message and no list until
            `object.accept`. One that nobody corrects or accepts for two minutes is given up.
        text: Words, in place of a place: the best proposal of a finder becomes the object. `wait_s`
            and the time of the search count towards `control.timeout_s`.
        finder: The finder that looks for them; the stream's own where left out.
    """

    op: Literal["prompt"]
    object: ObjectId | None = None
    label: Label | None = None
    draft: bool = False
    text: FinderQuery | None = None
    finder: FinderName | None = None

    @model_validator(mode="after")
    def _text_or_place(self) -> Self:
        if self.text is not None and self._is_drawn:
            raise ValueError("give text, or points, a box or a mask, not both")
        if self.finder is not None and self.text is None:
            raise ValueError("a finder is asked with text")
        return self


@operation(result=PromptResult, role=Role.PROMPT)
class ObjectCorrect(_Place):
    """As `prompt`, for an object that must be there already."""

    op: Literal["object.correct"]
    object: ObjectId


@operation(result=FindResult, role=Role.PROMPT)
class Find(Request):
    """Say what a finder proposes on a frame; nothing is tracked.

    Attributes:
        finder: Its name, with its usual settings; the stream's own where left out.
        text: What it looks for; for the stream's own, its `query` where left out.
        frame: The frame; the newest where left out. Few are held: see the limits.
        min_score: Least score of a proposal.
        max_proposals: The best so many are given.
        wait_s: Longest wait for the first frame of a stream that has none yet, in seconds.
    """

    op: Literal["find"]
    stream: StreamName
    finder: FinderName | None = None
    text: FinderQuery | None = None
    frame: FrameAddress | None = None
    min_score: Share = 0.0
    max_proposals: Annotated[int, Field(ge=1, le=64)] = 16
    wait_s: Annotated[float, Field(ge=0, le=300)] = 0.0


@operation(result=ObjectInfo, role=Role.PROMPT)
class ObjectAccept(Request):
    """Make a draft an object like any other."""

    op: Literal["object.accept"]
    stream: StreamName
    object: ObjectId


@operation(role=Role.PROMPT)
class ObjectRemove(Request):
    """Forget an object."""

    op: Literal["object.remove"]
    stream: StreamName
    object: ObjectId


@operation(role=Role.PROMPT)
class ObjectReset(Request):
    """Forget what an object looks like; it stays listed, lost, until it is prompted again."""

    op: Literal["object.reset"]
    stream: StreamName
    object: ObjectId


@operation(result=ObjectInfo, role=Role.PROMPT)
class ObjectRelabel(Request):
    """Rename an object, or take its name away."""

    op: Literal["object.relabel"]
    stream: StreamName
    object: ObjectId
    label: Label | None


@operation(result=ObjectsResult, role=Role.WATCH)
class ObjectList(Request):
    """The objects of a stream and how they are on its newest frame."""

    op: Literal["object.list"]
    stream: StreamName


@operation(result=ChangeResult, role=Role.ADMIN)
class ZoneSet(Request, ZoneSettings):
    """Set a zone or line of a stream, in place of one of the same name, whose counts end.

    Zones of a stream that the configuration names last until a restart, or until its zones in the
    configuration change: then those there are set.
    """

    op: Literal["zone.set"]
    stream: StreamName
    zone: ZoneName


@operation(result=ChangeResult, role=Role.ADMIN)
class ZoneRemove(Request):
    """Watch a zone or line no more."""

    op: Literal["zone.remove"]
    stream: StreamName
    zone: ZoneName


@operation(result=ZonesResult, role=Role.WATCH)
class ZoneList(Request):
    """The zones and lines of a stream, and their counts."""

    op: Literal["zone.list"]
    stream: StreamName


@operation(role=Role.ADMIN)
class SnapshotSave(Request):
    """Write the objects of a stream to the state folder now."""

    op: Literal["snapshot.save"]
    stream: StreamName


@operation(result=ObjectsResult, role=Role.ADMIN)
class SnapshotRestore(Request):
    """Put the objects of a stream back as its newest snapshot in the state folder has them.

    Attributes:
        digest: Of a snapshot that was sent by `snapshot.write`, in place of the newest one.
        objects: With `digest`: those that come back, lost where the snapshot lacks them; those of
            the snapshot where left out.
        next_object_id: With `digest`: ids below it are not given to new objects.
    """

    op: Literal["snapshot.restore"]
    stream: StreamName
    digest: Digest | None = None
    objects: Annotated[tuple[SavedObject, ...], Field(max_length=1024)] | None = None
    next_object_id: ObjectId = 1


@operation(result=SnapshotPiece, role=Role.ADMIN, remembered=False)
class SnapshotRead(Request):
    """Take a snapshot of the objects of a stream, and send it in pieces.

    Attributes:
        digest: Of the reply to the first piece; a new snapshot is taken where left out.
        offset: Where the piece begins, in bytes. After the last piece the snapshot is forgotten.
    """

    op: Literal["snapshot.read"]
    stream: StreamName
    digest: Digest | None = None
    offset: Annotated[int, Field(ge=0, lt=2**40)] = 0


@operation(role=Role.ADMIN)
class SnapshotWrite(Request):
    """Send a piece of a snapshot for `snapshot.restore`; the stream need not be there yet.

    Attributes:
        digest: SHA-256 of the whole snapshot, in hexadecimal.
        size: Bytes of the whole.
        offset: Where the piece begins: the end of the one before, 0 to begin again.
        data: The piece in base64.
    """

    op: Literal["snapshot.write"]
    stream: StreamName
    digest: Digest
    size: Annotated[int, Field(ge=1, lt=2**40)]
    offset: Annotated[int, Field(ge=0, lt=2**40)]
    data: Annotated[str, Field(max_length=PIECE_BYTES * 4 // 3, repr=False)]


_ANY = reduce(or_, (row.request for row in OPERATIONS.values()))
REQUEST: TypeAdapter[Request] = TypeAdapter(
    Annotated[_ANY, Field(discriminator="op")]  # type: ignore[arg-type]
)
"""Reads a request of any operation."""
