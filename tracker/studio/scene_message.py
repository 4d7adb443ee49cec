"""A scene as the page receives it: one binary WebSocket message.

Four bytes, big-endian, say how long the JSON is that follows; the JPEG comes after it. So a picture
and its masks cannot come apart on the way.
"""

import json
from typing import Any

from tracker.client.received import Picture, Result
from tracker.protocol.data import ObjectMessage
from tracker.protocol.fields import PreviewSize, RleMask
from tracker.rle import encode_rle


def scene_message(picture: Picture, result: Result, number: int) -> bytes:
    """The message of a picture and the objects on it; tiles show boxes alone.

    Raises:
        TrackdError: The masks are damaged.
    """
    message, size = result.message, picture.message.size
    masks = size is not PreviewSize.TILE
    head = {
        "type": "scene",
        "n": number,
        "size": size,
        "stream": message.stream,
        "frame": message.frame.model_dump(
            include={"seq", "epoch", "captured_ns", "width", "height"}
        ),
        "total_ms": message.timings.total_ms,
        "dropped": message.dropped,
        "objects": [_object(result, item, masks=masks) for item in message.objects],
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    return len(text).to_bytes(4, "big") + text + picture.jpeg


def _object(result: Result, item: ObjectMessage, *, masks: bool) -> dict[str, Any]:
    fields: dict[str, Any] = item.model_dump(include={"id", "label", "state", "score", "box"})
    if not masks:
        return fields
    if isinstance(item.mask, RleMask):
        fields["mask"] = item.mask.counts
    elif item.id in result.masks():
        fields["mask"] = encode_rle(result.mask(item.id)).counts
    return fields
