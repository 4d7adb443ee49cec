"""A scene as the page receives it: one binary WebSocket message.

Four bytes, big-endian, say how long the JSON is that follows; the JPEG comes after it. So a picture
and its masks cannot come apart on the way.
"""

import json
from typing import Any

import cv2
import numpy as np

from tracker.client.received import Result
from tracker.protocol.data import ObjectMessage
from tracker.protocol.fields import RleMask
from tracker.rle import encode_rle
from tracker.studio.joining import Scene

_TILE_QUALITY = 70


def scene_message(scene: Scene, *, number: int, stage: bool) -> bytes:
    """The message of a scene in the picture's own size.

    Args:
        scene: What is shown.
        number: Counts what a page was sent; the page says which it has shown.
        stage: Whether it is for the large view.
    """
    return _packed(_head(scene, number, stage=stage), scene.picture.jpeg)


def tile_message(scene: Scene, *, number: int, side_px: int) -> bytes:
    """The message of a scene shrunk to a tile; raises `ValueError` where the JPEG is damaged."""
    picture = cv2.imdecode(np.frombuffer(scene.picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("the preview is no JPEG")
    height, width = picture.shape[:2]
    scale = min(1.0, side_px / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _TILE_QUALITY])
    if not done:
        raise ValueError("the tile cannot be encoded")
    return _packed(_head(scene, number, stage=False), jpeg.tobytes())


def _packed(head: dict[str, Any], jpeg: bytes) -> bytes:
    text = json.dumps(head, separators=(",", ":")).encode()
    return len(text).to_bytes(4, "big") + text + jpeg


def _head(scene: Scene, number: int, *, stage: bool) -> dict[str, Any]:
    message = scene.result.message
    return {
        "type": "scene",
        "n": number,
        "stage": stage,
        "stream": message.stream,
        "frame": message.frame.model_dump(
            include={"seq", "epoch", "captured_ns", "width", "height"}
        ),
        "total_ms": message.timings.total_ms,
        "dropped": message.dropped,
        "objects": [_object(scene.result, item) for item in message.objects],
    }


def _object(result: Result, item: ObjectMessage) -> dict[str, Any]:
    fields: dict[str, Any] = item.model_dump(include={"id", "label", "state", "score", "box"})
    if isinstance(item.mask, RleMask):
        fields["mask"] = item.mask.counts
    elif item.id in result.masks():
        fields["mask"] = encode_rle(result.mask(item.id)).counts
    return fields
