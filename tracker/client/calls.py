"""Requests as bytes and replies as values, without any socket."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from streams.options import SourceOptions
from tracker.client.errors import DaemonError, not_understood
from tracker.client.received import Picture, Result
from tracker.errors import UsageError
from tracker.protocol import replies, requests
from tracker.protocol.data import FrameStamp
from tracker.protocol.fields import VERSION, DeadlineSettings, Encoding, FrameAddress, Preview
from tracker.rle import encode_rle

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
XY = tuple[float, float]
Box = tuple[float, float, float, float]


class Place(TypedDict, total=False):
    """Where an object is: clicks, a box, both, or a mask.

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
    """

    points: Sequence[XY]
    labels: Sequence[int] | None
    box: Box | None
    mask: NDArray[np.bool_] | None
    frame: Result | Picture | FrameStamp | FrameAddress | int | None
    normalized: bool
    wait_s: float


class NewPlace(Place, total=False):
    """As `Place`, for an object that may be new.

    Attributes:
        object: Its id; without one the daemon gives the next free id.
        label: A name for it.
    """

    object: int | None
    label: str | None


class StreamOptions(TypedDict, total=False):
    """How a stream is read and sent; see `tracker.protocol.fields.StreamSettings`."""

    options: SourceOptions
    policy: Literal["auto", "latest", "every"]
    realtime: bool
    loop: bool
    encoding: Encoding
    preview: Preview
    open_timeout_s: float
    stall_timeout_s: float
    deadline: DeadlineSettings | None


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how to read the result of its reply."""

    request: type[requests.Request]
    fields: Mapping[str, Any]
    read: Callable[[dict[str, Any]], T]

    @property
    def wait_s(self) -> float:
        """Seconds that the daemon is asked to wait, on top of the usual time for a reply."""
        return float(self.fields.get("wait_s", 0.0))

    def encode(self, request_id: str) -> bytes:
        """The request as sent.

        Raises:
            UsageError: A value that the protocol does not allow.
        """
        try:
            message = self.request.model_validate({"v": VERSION, "id": request_id, **self.fields})
        except ValidationError as error:
            raise _wrong_values(error) from None  # the cause would show the address of a camera
        return message.model_dump_json(exclude_unset=True).encode()

    def decode(self, reply: replies.Reply) -> T:
        """The result of the reply.

        Raises:
            DaemonError: The request was refused.
            BadMessage: The result has another form.
        """
        if reply.error is not None:
            raise DaemonError(reply.error)
        try:
            return self.read(reply.result or {})
        except ValidationError as error:
            raise not_understood(f"reply to {self.fields['op']}", error) from error


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


def tolerant(model: type[M]) -> Callable[[dict[str, Any]], M]:
    """Reads a result; keys that a newer daemon has added to it are left out."""
    return lambda result: model.model_validate(result, extra="ignore")


def _change(result: dict[str, Any]) -> replies.ChangeResult:
    return tolerant(replies.ChangeResult)(result)


def any_request(fields: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """A request by its fields.

    Raises:
        UsageError: There is no such operation.
    """
    kind = requests.by_op().get(str(fields.get("op")))
    if kind is None:
        raise UsageError("there is no such operation", f"use {', '.join(requests.by_op())}")
    return Call(kind, fields, dict)


def ping() -> Call[replies.PingResult]:
    """Is the daemon there, and is it ready?"""
    return Call(requests.Ping, {"op": "ping"}, tolerant(replies.PingResult))


def describe() -> Call[dict[str, Any]]:
    """Version, model, limits and schemas."""
    return Call(requests.Describe, {"op": "describe"}, dict)


def metrics() -> Call[dict[str, Any]]:
    """Counters and latencies."""
    return Call(requests.Metrics, {"op": "metrics"}, dict)


def shutdown() -> Call[None]:
    """Drain and exit."""
    return Call(requests.Shutdown, {"op": "shutdown"}, _nothing)


def add_stream(stream: str, url: str, options: StreamOptions) -> Call[replies.ChangeResult]:
    """Open a source and track on it."""
    fields = {"op": "stream.add", "stream": stream, "url": url, **options}
    return Call(requests.StreamAdd, fields, _change)


def remove_stream(stream: str) -> Call[replies.ChangeResult]:
    """Close a source and forget its objects."""
    return Call(requests.StreamRemove, {"op": "stream.remove", "stream": stream}, _change)


def pause_stream(stream: str) -> Call[replies.ChangeResult]:
    """Close a source and keep its objects."""
    return Call(requests.StreamPause, {"op": "stream.pause", "stream": stream}, _change)


def resume_stream(stream: str) -> Call[replies.ChangeResult]:
    """Open a source again."""
    return Call(requests.StreamResume, {"op": "stream.resume", "stream": stream}, _change)


def streams() -> Call[list[replies.StreamInfo]]:
    """All streams."""
    return Call(
        requests.StreamList,
        {"op": "stream.list"},
        lambda result: tolerant(replies.StreamsResult)(result).streams,
    )


def prompt(stream: str, place: NewPlace) -> Call[replies.PromptResult]:
    """Track an object, or correct one."""
    fields = {"op": "prompt", "stream": stream, **_placed(place)}
    return Call(requests.PromptObject, fields, tolerant(replies.PromptResult))


def correct(stream: str, object_id: int, place: Place) -> Call[replies.PromptResult]:
    """Correct an object that is tracked."""
    fields = {"op": "object.correct", "stream": stream, "object": object_id, **_placed(place)}
    return Call(requests.ObjectCorrect, fields, tolerant(replies.PromptResult))


def remove_object(stream: str, object_id: int) -> Call[None]:
    """Forget an object."""
    fields = {"op": "object.remove", "stream": stream, "object": object_id}
    return Call(requests.ObjectRemove, fields, _nothing)


def reset_object(stream: str, object_id: int) -> Call[None]:
    """Forget what an object looks like."""
    fields = {"op": "object.reset", "stream": stream, "object": object_id}
    return Call(requests.ObjectReset, fields, _nothing)


def relabel_object(stream: str, object_id: int, label: str | None) -> Call[None]:
    """Rename an object."""
    fields = {"op": "object.relabel", "stream": stream, "object": object_id, "label": label}
    return Call(requests.ObjectRelabel, fields, _nothing)


def objects(stream: str) -> Call[list[replies.ObjectInfo]]:
    """The objects of a stream."""
    return Call(
        requests.ObjectList,
        {"op": "object.list", "stream": stream},
        lambda result: tolerant(replies.ObjectsResult)(result).objects,
    )


def save_snapshot(stream: str) -> Call[None]:
    """Write the objects of a stream to the state folder."""
    return Call(requests.SnapshotSave, {"op": "snapshot.save", "stream": stream}, _nothing)


def restore_snapshot(stream: str) -> Call[None]:
    """Put the objects of a stream back."""
    return Call(requests.SnapshotRestore, {"op": "snapshot.restore", "stream": stream}, _nothing)


def _nothing(result: dict[str, Any]) -> None:
    """For requests whose reply says only that they were done."""


def _placed(place: Place | NewPlace) -> dict[str, Any]:
    """The fields of a prompt; what was left out stays out."""
    fields = {name: value for name, value in place.items() if value is not None}
    mask_hw = place.get("mask")
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
