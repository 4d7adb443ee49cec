"""Received results of made frames, as a subscriber has them."""

import time

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.support.tracked_frames import tracked
from tracker.client import Picture, Result
from tracker.daemon.publish.encode import encode_objects, masks_message
from tracker.protocol.data import FrameMessage
from tracker.protocol.fields import Encoding
from tracker.types import ObjectResult


def result(
    seq: int,
    objects: tuple[ObjectResult, ...],
    image: NDArray[np.uint8] | None = None,
    encoding: Encoding = "rle",
) -> Result:
    """The masks message of a frame that is as large as its objects' masks."""
    frame = tracked(seq, objects, image=image)
    height, width = frame.live.frame.image.shape[:2]
    encoded = encode_objects(objects, encoding, height, width)
    message = masks_message(frame, encoded, seq=seq, encoded_s=time.monotonic())
    return Result(message, (b"", b"", *encoded.blobs))


def picture(of: Result, image: NDArray[np.uint8], scale: float = 1.0) -> Picture:
    """The preview of a frame."""
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    frame = of.message.frame
    message = FrameMessage(stream=of.stream, seq=frame.seq, frame=frame, scale=scale)
    return Picture(message, jpeg.tobytes())
