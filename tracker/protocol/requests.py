"""Requests on the control socket: one JSON object each, told apart by `op`."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from tracker.protocol.fields import (
    Coordinate,
    FrameAddress,
    Label,
    Message,
    ObjectId,
    RleMask,
    StreamName,
    StreamSettings,
)

MAX_POINTS = 64


class Request(Message):
    """What every request has.

    Attributes:
        v: Version of the protocol.
        id: Chosen by the client and repeated in the reply. A repeated id, from the same client,
            gets the first reply again and does nothing, so a request can be retried.
    """

    v: Literal[1] = 1
    id: Annotated[str, Field(min_length=1, max_length=64)]


class Ping(Request):
    """Is the daemon there, and is it ready?"""

    op: Literal["ping"]


class Describe(Request):
    """Version, model, limits, and the JSON schema of every message."""

    op: Literal["describe"]


class Metrics(Request):
    """Counters and latencies, as JSON."""

    op: Literal["metrics"]


class Shutdown(Request):
    """Drain and exit."""

    op: Literal["shutdown"]


class StreamAdd(Request, StreamSettings):
    """Open a source and track on it from now on; the reply does not wait for its first frame."""

    op: Literal["stream.add"]
    stream: StreamName


class StreamRemove(Request):
    """Close a source and forget its objects."""

    op: Literal["stream.remove"]
    stream: StreamName


class StreamPause(Request):
    """Close a source and keep its objects."""

    op: Literal["stream.pause"]
    stream: StreamName


class StreamResume(Request):
    """Open a paused source again, or retry a failing one now."""

    op: Literal["stream.resume"]
    stream: StreamName


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
    """Where an object is on a frame: clicks, a box, both, or a mask."""

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

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if self.labels is not None and len(self.labels) != len(self.points):
            raise ValueError(f"{len(self.points)} points but {len(self.labels)} labels")
        if self.mask is None and self.box is None and not self.points:
            raise ValueError("give points, a box or a mask")
        if self.mask is not None and (self.points or self.box is not None):
            raise ValueError("give a mask or clicks, not both")
        return self


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
    """

    op: Literal["prompt"]
    object: ObjectId | None = None
    label: Label | None = None


class ObjectCorrect(_Place):
    """As `prompt`, for an object that must be there already."""

    op: Literal["object.correct"]
    object: ObjectId


class ObjectRemove(Request):
    """Forget an object."""

    op: Literal["object.remove"]
    stream: StreamName
    object: ObjectId


class ObjectReset(Request):
    """Forget what an object looks like; it stays listed, lost, until it is prompted again."""

    op: Literal["object.reset"]
    stream: StreamName
    object: ObjectId


class ObjectRelabel(Request):
    """Rename an object, or take its name away."""

    op: Literal["object.relabel"]
    stream: StreamName
    object: ObjectId
    label: Label | None


class ObjectList(Request):
    """The objects of a stream and how they are on its newest frame."""

    op: Literal["object.list"]
    stream: StreamName


class SnapshotSave(Request):
    """Write the objects of a stream to the state folder now."""

    op: Literal["snapshot.save"]
    stream: StreamName


class SnapshotRestore(Request):
    """Put the objects of a stream back as its newest snapshot in the state folder has them."""

    op: Literal["snapshot.restore"]
    stream: StreamName


AnyRequest = Annotated[
    Ping
    | Describe
    | Metrics
    | Shutdown
    | StreamAdd
    | StreamRemove
    | StreamPause
    | StreamResume
    | StreamList
    | PromptObject
    | ObjectCorrect
    | ObjectRemove
    | ObjectReset
    | ObjectRelabel
    | ObjectList
    | SnapshotSave
    | SnapshotRestore,
    Field(discriminator="op"),
]

REQUEST: TypeAdapter[AnyRequest] = TypeAdapter(AnyRequest)


def by_op() -> dict[str, type[Request]]:
    """The request of each operation."""
    union = get_args(AnyRequest)[0]
    return {get_args(kind.model_fields["op"].annotation)[0]: kind for kind in get_args(union)}
