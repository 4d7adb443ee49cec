"""Encoders of tracked frames and events as messages: pure functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.daemon.messages import Event, LiveFrame, Tracked
from tracker.daemon.tracking.anchors import shown_box
from tracker.protocol.data import (
    BitsMask,
    EventMessage,
    FrameMessage,
    FrameStamp,
    MasksMessage,
    ObjectMessage,
    PolygonMask,
    Timings,
)
from tracker.protocol.fields import Encoding, PreviewSize, RleMask
from tracker.rle import encode_rle_in_box
from tracker.types import ObjectResult

DataMessage = MasksMessage | EventMessage | FrameMessage
Mask = RleMask | BitsMask | PolygonMask
Box = tuple[int, int, int, int]

Measured = Mapping[int, Mapping[str, Any]]  # fields of an `ObjectMessage`, by object id

_NOTHING: Measured = {}
_FIRST_BLOB = 2  # parts 0 and 1 are topic and JSON


@dataclass(frozen=True, slots=True)
class EncodedObjects:
    """All objects of a frame as they are sent.

    Attributes:
        encoding: Of the masks.
        objects: In the order of the result.
        blobs: Binary parts of the message, from part 2 on.
        labelmap_part: As in `MasksMessage`.
    """

    encoding: Encoding
    objects: list[ObjectMessage]
    blobs: tuple[bytes, ...] = ()
    labelmap_part: int | None = None


def encode_objects(
    objects: Sequence[ObjectResult],
    encoding: Encoding,
    height: int,
    width: int,
    measured: Measured = _NOTHING,
) -> EncodedObjects:
    """Encode the objects on a frame of `height` x `width` pixels.

    An object that is occluded or lost, or had no turn, is sent without box and mask.
    """
    blobs: list[bytes] = []
    if encoding == "labelmap-png":
        blobs.append(_labelmap_png(objects, height, width))
        numbered = enumerate(objects, start=1)
        messages = [_object(item, None, measured, value) for value, item in numbered]
        return EncodedObjects(encoding, messages, tuple(blobs), _FIRST_BLOB)
    encode: dict[str, Callable[[NDArray[np.bool_], Box], Mask]] = {
        "rle": _rle,
        "bits": lambda mask_hw, box: _bits(mask_hw, box, blobs),
        "polygon": _polygons,
    }
    messages = []
    for item in objects:
        box = shown_box(item)
        mask = None if box is None else encode[encoding](item.mask_hw, box)
        messages.append(_object(item, mask, measured))
    return EncodedObjects(encoding, messages, tuple(blobs))


def _object(
    item: ObjectResult, mask: Mask | None, measured: Measured, value: int | None = None
) -> ObjectMessage:
    return ObjectMessage(
        id=item.id,
        label=item.label,
        state=item.state,
        score=round(item.score, 4),
        box=shown_box(item),
        mask=mask,
        value=value,
        updated=item.fresh,
        identity=None if item.identity is None else round(item.identity, 4),
        **measured.get(item.id, {}),
    )


def _rle(mask_hw: NDArray[np.bool_], box: Box) -> RleMask:
    rle = encode_rle_in_box(mask_hw, box)
    return RleMask(size=(rle.height, rle.width), counts=rle.counts)


def _bits(mask_hw: NDArray[np.bool_], box: Box, blobs: list[bytes]) -> BitsMask:
    x0, y0, x1, y1 = box
    blobs.append(np.packbits(mask_hw[y0:y1, x0:x1]).tobytes())
    return BitsMask(part=_FIRST_BLOB + len(blobs) - 1, size=(y1 - y0, x1 - x0))


def _polygons(mask_hw: NDArray[np.bool_], box: Box) -> PolygonMask:
    """Contours through the outermost pixels, without the points that a straight line implies."""
    x0, y0, x1, y1 = box
    crop_hw = np.ascontiguousarray(mask_hw[y0:y1, x0:x1]).view(np.uint8)
    contours, _ = cv2.findContours(
        crop_hw, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x0, y0)
    )
    return PolygonMask(polygons=[[int(v) for v in contour.ravel()] for contour in contours])


def _labelmap_png(objects: Sequence[ObjectResult], height: int, width: int) -> bytes:
    """Grey PNG: the value of a pixel is the 1-based place of its object in the message.

    Where masks overlap, the object with the higher score is on top; with equal scores the one
    with the better predicted mask, then the one with the lower id.
    """
    values_hw = np.zeros((height, width), np.uint8 if len(objects) <= 255 else np.uint16)
    painted = sorted(
        enumerate(objects, start=1), key=lambda pair: (pair[1].score, pair[1].iou, -pair[1].id)
    )
    for value, item in painted:
        box = shown_box(item)
        if box is not None:
            x0, y0, x1, y1 = box
            values_hw[y0:y1, x0:x1][item.mask_hw[y0:y1, x0:x1]] = value
    _, png = cv2.imencode(".png", values_hw)
    return png.tobytes()


def masks_message(
    tracked: Tracked, encoded: EncodedObjects, *, seq: int, encoded_s: float
) -> MasksMessage:
    """The `masks` message of a frame whose objects were encoded at `encoded_s` (monotonic)."""
    return MasksMessage(
        stream=tracked.live.frame.stream,
        owner_epoch=tracked.owner_epoch,
        seq=seq,
        dropped=tracked.dropped,
        frame=frame_stamp(tracked.live),
        timings=_timings(tracked, encoded_s),
        encoding=encoded.encoding,
        labelmap_part=encoded.labelmap_part,
        budget=tracked.budget,
        objects=encoded.objects,
    )


def frame_stamp(live: LiveFrame) -> FrameStamp:
    """Stamp of a frame: its identity and times."""
    frame = live.frame
    height, width = frame.image.shape[:2]
    base = frame.time_base
    return FrameStamp(
        seq=frame.seq,
        epoch=live.epoch,
        pts=frame.pts,
        time_base=None if base is None else (base.numerator, base.denominator),
        captured_ns=frame.captured_ns,
        sender_ns=live.sender_ns,
        width=width,
        height=height,
    )


def _timings(tracked: Tracked, encoded_s: float) -> Timings:
    live, times = tracked.live, tracked.result.times
    return Timings(
        decode_ms=_ms(live.decode_s),
        queue_ms=_ms(tracked.queue_s),
        encode_ms=_ms(times.encode_s),
        track_ms=_ms(times.track_s),
        wire_ms=_ms(encoded_s - tracked.tracked_s),
        total_ms=_ms(encoded_s - live.arrived_s),
    )


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def event_message(
    event: Event, *, seq: int, epoch: str | None = None, number: int | None = None
) -> EventMessage:
    """The `event` message of a change, the `number`-th event of an `epoch`."""
    return EventMessage(
        id=None if number is None else f"{epoch}-{number}",
        stream=event.stream,
        owner_epoch=event.owner_epoch,
        seq=seq,
        epoch=epoch,
        at_ns=event.at_ns,
        event=event.name,
        frame_seq=event.frame_seq,
        captured_ns=event.captured_ns,
        object=event.object_id,
        state=event.state,
        label=event.label,
        text=event.text,
        zone=event.zone,
    )


def frame_message(
    tracked: Tracked, *, seq: int, scale: float, size: PreviewSize | None = None
) -> FrameMessage:
    """The `frame` message of a preview of `scale` pixels per source pixel."""
    live = tracked.live
    return FrameMessage(
        stream=live.frame.stream,
        owner_epoch=tracked.owner_epoch,
        seq=seq,
        frame=frame_stamp(live),
        size=size,
        scale=round(scale, 6),
    )


def to_json(message: DataMessage) -> bytes:
    """The message as UTF-8 JSON."""
    return message.model_dump_json().encode()
