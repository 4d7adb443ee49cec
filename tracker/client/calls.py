"""Requests of both clients, defined once: as bytes, and replies as values, without any socket."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import (
    Any,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from streams.options import SourceOptions
from tracker.client.errors import DaemonError, not_understood
from tracker.client.received import Picture, Result
from tracker.errors import UsageError
from tracker.protocol import replies, requests
from tracker.protocol.data import FrameStamp
from tracker.protocol.fields import (
    VERSION,
    DeadlineSettings,
    Encoding,
    FindSettings,
    FrameAddress,
    MeasureSettings,
    Preview,
    RecordSettings,
    SavedObject,
    ZoneSettings,
)
from tracker.rle import encode_rle

T = TypeVar("T")
P = ParamSpec("P")
XY = tuple[float, float]
Box = tuple[float, float, float, float]
LOOK_S = 30.0  # for a finder, which may have to load a model


class Place(TypedDict, total=False):
    """Place of an object: clicks, a box, both, or a mask.

    Attributes:
        points: Clicks (x, y) in pixels of the source.
        labels: One per click: 1 on the object, 0 off it; all 1 where left out.
        box: Left, top, right, bottom edge in pixels of the source.
        mask: Bool [H, W] at the size of the frame.
        frame: The frame that this was drawn on: what was received of it (a result, a preview, or
            the `frame` of its message), its `frame.seq`, or any of its names; the newest where
            left out. What was received never means a frame of another run of the daemon.
        normalized: Coordinates are parts of the width and height, 0..1.
        wait_s: Longest wait for the first frame of a stream that has none yet, on top of the
            client's timeout; none where left out.
        return_mask: The reply holds the object's mask on that frame.
        defer_replay: The reply comes before the object is tracked again on the frames since.
    """

    points: Sequence[XY]
    labels: Sequence[int] | None
    box: Box | None
    mask: NDArray[np.bool_] | None
    frame: Result | Picture | FrameStamp | FrameAddress | int | None
    normalized: bool
    wait_s: float
    return_mask: bool
    defer_replay: bool


class NewPlace(Place, total=False):
    """As `Place`, for an object that may be new.

    Attributes:
        object: Its id; without one the daemon gives the next free id.
        label: A name for it.
        draft: A new object is a draft until `accept_object`: tracked, and in no message or list.
        text: Words, in place of a place: the best proposal of a finder becomes the object.
        finder: The finder that looks for them; the stream's own where left out.
    """

    object: int | None
    label: str | None
    draft: bool
    text: str | None
    finder: str | None


class Look(TypedDict, total=False):
    """A look of a finder at a frame.

    Attributes:
        finder: Its name; the stream's own where left out.
        text: What it looks for.
        frame: As in `Place`.
        min_score: Least score of a proposal.
        max_proposals: The best so many are given.
        wait_s: As in `Place`.
    """

    finder: str | None
    text: str | None
    frame: Result | Picture | FrameStamp | FrameAddress | int | None
    min_score: float
    max_proposals: int
    wait_s: float


class Zone(TypedDict, total=False):
    """A polygon or a line, and what it watches; see `tracker.protocol.fields.ZoneSettings`."""

    polygon: Sequence[XY]
    line: tuple[XY, XY]
    normalized: bool
    labels: Sequence[str]
    objects: Sequence[int]
    anchor: str
    dwell_s: float | None
    min_frames: int


class StreamOptions(TypedDict, total=False):
    """Settings of reading and sending a stream; see `tracker.protocol.fields.StreamSettings`."""

    options: SourceOptions
    policy: Literal["auto", "latest", "every"]
    realtime: bool
    loop: bool
    encoding: Encoding
    preview: Preview
    open_timeout_s: float
    stall_timeout_s: float
    deadline: DeadlineSettings | None
    find: FindSettings | None
    measure: MeasureSettings
    zones: dict[str, ZoneSettings]
    record: RecordSettings | None
    owner_epoch: int
    paused: bool


class SentSnapshot(TypedDict, total=False):
    """A snapshot that was sent by `write_snapshot`; see `tracker.protocol.requests`."""

    digest: str
    objects: Sequence[SavedObject]
    next_object_id: int


class Removal(TypedDict, total=False):
    """Condition of a removal.

    Attributes:
        owner_epoch: Only where the stream's owner has a lower epoch; refused else.
    """

    owner_epoch: int


class Call(Generic[T]):
    """One request of an operation, and how to read the result of its reply.

    Args:
        op: The operation's name.
        fields: Of its request, besides those that every request has.
        read: Makes the value of the result, as the table of operations has it; None takes it as it
            is.
    """

    def __init__(
        self,
        op: str,
        fields: Mapping[str, Any] | None = None,
        *,
        read: Callable[[Any], T] | None = None,
    ) -> None:
        if op not in requests.OPERATIONS:
            raise UsageError(f"no operation {op}", f"there are {', '.join(requests.OPERATIONS)}")
        self.operation = requests.OPERATIONS[op]
        self._fields = fields or {}
        self._read = read

    @property
    def wait_s(self) -> float:
        """Seconds that the daemon may take, on top of the usual time for a reply."""
        looks = self.operation.op == "find" or "text" in self._fields
        return float(self._fields.get("wait_s", 0.0)) + (LOOK_S if looks else 0.0)

    @property
    def stream(self) -> str | None:
        """The stream that it is about; None for the daemon."""
        return self._fields.get("stream")

    def encode(self, request_id: str) -> bytes:
        """The request as sent.

        Raises:
            UsageError: A value that the protocol does not allow.
        """
        given = {"v": VERSION, "id": request_id, "op": self.operation.op, **self._fields}
        try:
            message = self.operation.request.model_validate(given)
        except ValidationError as error:
            raise _wrong_values(error) from None  # the cause would show the address of a camera
        return message.model_dump_json(exclude_unset=True).encode()

    def decode(self, reply: replies.Reply) -> T:
        """The value of the reply.

        Raises:
            DaemonError: The request was refused.
            BadMessage: The result has another form.
        """
        if reply.error is not None:
            raise DaemonError(reply.error)
        try:
            result = self._result(reply.result or {})
        except ValidationError as error:
            raise not_understood(f"reply to {self.operation.op}", error) from error
        return cast(T, result) if self._read is None else self._read(result)

    def _result(self, result: dict[str, Any]) -> Any:
        """By the table of operations; keys that a newer daemon has added are left out."""
        kind = self.operation.result
        if kind is not None and issubclass(kind, BaseModel):
            return kind.model_validate(result, extra="ignore")
        return None if kind is None else result


def read_reply(parts: Sequence[bytes], request_id: str) -> replies.Reply | None:
    """The reply to the request, or None where the message answers another one.

    Raises:
        BadMessage: It is no reply.
    """
    try:
        reply = replies.Reply.model_validate_json(parts[-1], extra="ignore")
    except ValidationError as error:
        raise not_understood("reply", error) from error
    # The daemon could not read the id: as one request is on its way at a time, it is this one's.
    return reply if reply.id in (request_id, "") else None


class SyncCaller(Protocol):
    """A client that waits for replies."""

    def _call(self, call: Call[T]) -> T: ...


class AsyncCaller(Protocol):
    """A client whose replies are awaited."""

    async def _call(self, call: Call[T]) -> T: ...


class Method(Generic[P, T]):
    """Descriptor that makes a function which returns a `Call` a method of both clients."""

    def __init__(self, function: Callable[P, Call[T]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...

    @overload
    def __get__(self, client: SyncCaller, owner: type) -> Callable[P, T]: ...

    @overload
    def __get__(self, client: AsyncCaller, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self

        @wraps(self._function)
        def ask(*args: P.args, **given: P.kwargs) -> Any:
            return client._call(self._function(*args, **given))

        return ask


def _call(op: str, **fields: Any) -> Call[Any]:
    """Do any operation by its name, such as those that have no method; returns its result."""
    return Call(op, fields)


def _ping() -> Call[replies.PingResult]:
    """Ask whether the daemon is there, and ready."""
    return Call("ping")


def _describe() -> Call[dict[str, Any]]:
    """Ask for the version, the model, the limits and the JSON schema of every message."""
    return Call("describe")


def _metrics() -> Call[dict[str, Any]]:
    """Ask for counters and latencies."""
    return Call("metrics")


def _shutdown() -> Call[None]:
    """Let the daemon drain and exit."""
    return Call("shutdown")


def _add_stream(
    stream: str, url: str, **options: Unpack[StreamOptions]
) -> Call[replies.ChangeResult]:
    """Open a source and track on it; does not wait for its first frame."""
    return Call("stream.add", {"stream": stream, "url": url, **options})


def _remove_stream(stream: str, **given: Unpack[Removal]) -> Call[replies.ChangeResult]:
    """Close a source and forget its objects."""
    return Call("stream.remove", {"stream": stream, **given})


def _pause_stream(stream: str) -> Call[replies.ChangeResult]:
    """Close a source and keep its objects."""
    return Call("stream.pause", {"stream": stream})


def _resume_stream(stream: str) -> Call[replies.ChangeResult]:
    """Open a paused source again, or retry a failing one now."""
    return Call("stream.resume", {"stream": stream})


def _move_stream(stream: str, worker: str) -> Call[replies.ObjectsResult]:
    """Have another of the daemon's workers go on with a stream; its objects stay as they are."""
    return Call("stream.move", {"stream": stream, "worker": worker})


def _record_stream(stream: str, on: bool) -> Call[None]:
    """Record a stream that has settings for it from now on, or stop."""
    return Call("stream.record", {"stream": stream, "on": on})


def _streams() -> Call[list[replies.StreamInfo]]:
    """List the streams and how they are."""
    return Call("stream.list", read=lambda result: result.streams)


def _prompt(stream: str, **place: Unpack[NewPlace]) -> Call[replies.PromptResult]:
    """Track an object, or correct one that is tracked."""
    return Call("prompt", {"stream": stream, **_placed(place)})


def _correct(stream: str, object_id: int, **place: Unpack[Place]) -> Call[replies.PromptResult]:
    """Correct an object that must be there already."""
    return Call("object.correct", {"stream": stream, "object": object_id, **_placed(place)})


def _find(stream: str, **look: Unpack[Look]) -> Call[replies.FindResult]:
    """Ask what a finder proposes on a frame; nothing is tracked."""
    return Call("find", {"stream": stream, **_placed(look)})


def _accept_object(stream: str, object_id: int) -> Call[replies.ObjectInfo]:
    """Make a draft an object like any other."""
    return Call("object.accept", {"stream": stream, "object": object_id})


def _remove_object(stream: str, object_id: int) -> Call[None]:
    """Forget an object."""
    return Call("object.remove", {"stream": stream, "object": object_id})


def _reset_object(stream: str, object_id: int) -> Call[None]:
    """Forget what an object looks like; it stays listed, lost."""
    return Call("object.reset", {"stream": stream, "object": object_id})


def _relabel_object(stream: str, object_id: int, label: str | None) -> Call[replies.ObjectInfo]:
    """Rename an object; None takes its name away."""
    return Call("object.relabel", {"stream": stream, "object": object_id, "label": label})


def _objects(stream: str) -> Call[list[replies.ObjectInfo]]:
    """List the objects of a stream and how they are on its newest frame."""
    return Call("object.list", {"stream": stream}, read=lambda result: result.objects)


def _set_zone(stream: str, zone: str, **shape: Unpack[Zone]) -> Call[replies.ChangeResult]:
    """Set a zone or line of a stream, whose events are sent from then on."""
    return Call("zone.set", {"stream": stream, "zone": zone, **shape})


def _remove_zone(stream: str, zone: str) -> Call[replies.ChangeResult]:
    """Watch a zone or line no more."""
    return Call("zone.remove", {"stream": stream, "zone": zone})


def _zones(stream: str) -> Call[list[replies.ZoneInfo]]:
    """List the zones and lines of a stream, and their counts."""
    return Call("zone.list", {"stream": stream}, read=lambda result: result.zones)


def _save_snapshot(stream: str) -> Call[None]:
    """Write the objects of a stream to the daemon's state folder now."""
    return Call("snapshot.save", {"stream": stream})


def _restore_snapshot(stream: str, **sent: Unpack[SentSnapshot]) -> Call[replies.ObjectsResult]:
    """Put the objects of a stream back as its newest snapshot, or one that was sent, has them."""
    return Call("snapshot.restore", {"stream": stream, **sent})


def _read_snapshot(stream: str, digest: str | None, offset: int) -> Call[replies.SnapshotPiece]:
    """Take a snapshot of the objects of a stream, or read on in one."""
    return Call("snapshot.read", {"stream": stream, "digest": digest, "offset": offset})


def _write_snapshot(stream: str, digest: str, size: int, offset: int, data: str) -> Call[None]:
    """Send a piece of a snapshot, in base64."""
    fields = {"digest": digest, "size": size, "offset": offset, "data": data}
    return Call("snapshot.write", {"stream": stream, **fields})


class CallMethods:
    """The requests of both clients; on `AsyncClient` each is awaited."""

    call = Method(_call)
    ping = Method(_ping)
    describe = Method(_describe)
    metrics = Method(_metrics)
    shutdown = Method(_shutdown)
    add_stream = Method(_add_stream)
    remove_stream = Method(_remove_stream)
    pause_stream = Method(_pause_stream)
    resume_stream = Method(_resume_stream)
    move_stream = Method(_move_stream)
    record_stream = Method(_record_stream)
    streams = Method(_streams)
    prompt = Method(_prompt)
    correct = Method(_correct)
    find = Method(_find)
    accept_object = Method(_accept_object)
    remove_object = Method(_remove_object)
    reset_object = Method(_reset_object)
    relabel_object = Method(_relabel_object)
    objects = Method(_objects)
    set_zone = Method(_set_zone)
    remove_zone = Method(_remove_zone)
    zones = Method(_zones)
    save_snapshot = Method(_save_snapshot)
    restore_snapshot = Method(_restore_snapshot)
    read_snapshot = Method(_read_snapshot)
    write_snapshot = Method(_write_snapshot)


def _placed(place: Place | NewPlace | Look) -> dict[str, Any]:
    """The fields of a prompt or a look; what was left out stays out."""
    fields: dict[str, Any] = {name: value for name, value in place.items() if value is not None}
    mask_hw = fields.get("mask")
    if mask_hw is not None:
        fields["mask"] = _rle(mask_hw)
    frame = place.get("frame")
    if isinstance(frame, Result | Picture):
        frame = frame.message.frame
    if isinstance(frame, FrameStamp):
        fields["frame"] = FrameAddress(seq=frame.seq, epoch=frame.epoch)
    elif isinstance(frame, int):
        fields["frame"] = {"seq": frame}
    return fields


def _rle(mask_hw: NDArray[np.bool_]) -> dict[str, Any]:
    if mask_hw.ndim != 2 or mask_hw.dtype != np.bool_:
        raise UsageError(
            f"the mask is {mask_hw.dtype} of shape {mask_hw.shape}", "give bool [height, width]"
        )
    rle = encode_rle(mask_hw)
    return {"size": (rle.height, rle.width), "counts": rle.counts}


def _wrong_values(error: ValidationError) -> UsageError:
    said = [
        f"{'.'.join(str(part) for part in item['loc']) or 'request'}: "
        f"{item['msg'].removeprefix('Value error, ')}"
        for item in error.errors(include_input=False, include_url=False)
    ]
    return UsageError("; ".join(said[:3]))
