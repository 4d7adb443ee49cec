"""Translation between results and messages of ROS 2, whichever package the messages are of."""

import re
import sys
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.bridges.ros.calibration import Calibration
from tracker.client import Result
from tracker.client.calls import NewPlace
from tracker.errors import PromptError
from tracker.protocol.data import FrameStamp
from tracker.protocol.fields import FrameAddress

MAX_PROMPTS = 64
"""Detections of one message that are taken as prompts."""

_NS = 1_000_000_000
_ID = re.compile(r"[1-9][0-9]{0,9}")
_PIXELS: tuple[tuple[int, str, type[np.integer[Any]]], ...] = (
    (2**8 - 1, "mono8", np.uint8),
    (2**16 - 1, "mono16", np.uint16),
    (2**31 - 1, "32SC1", np.int32),
)


class Translator:
    """Makes messages of the results of one stream.

    Args:
        types: Classes of the messages by name, made by keyword: the module
            `tracker.bridges.ros.messages`, or an object that has those of rclpy.
        frame_id: Coordinate frame of the camera.
    """

    def __init__(self, types: Any, frame_id: str) -> None:
        self._types = types
        self._frame_id = frame_id

    def header(self, frame: FrameStamp) -> Any:
        """std_msgs/Header with the time at which the frame was captured."""
        sec, nanosec = divmod(frame.captured_ns, _NS)
        stamp = self._types.Time(sec=sec, nanosec=nanosec)
        return self._types.Header(stamp=stamp, frame_id=self._frame_id)

    def label_map(self, result: Result) -> Any:
        """sensor_msgs/Image whose pixels are ids of objects, 0 where there is none.

        The encoding is mono8 where all ids fit, else mono16, else 32SC1. Where masks overlap, the
        object with the higher score is on top.

        Raises:
            TrackdError: The masks are damaged.
        """
        ids_hw, encoding = _ids(result)
        height, width = ids_hw.shape
        return self._types.Image(
            header=self.header(result.message.frame),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=int(sys.byteorder == "big"),
            step=width * ids_hw.itemsize,
            data=array("B", ids_hw.tobytes()),
        )

    def detections(self, result: Result) -> Any:
        """vision_msgs/Detection2DArray of the objects in sight: `id`, `class_id` is the label."""
        header = self.header(result.message.frame)
        found = [
            self._types.Detection2D(
                header=header,
                results=[self._hypothesis(item.label or "", item.score)],
                bbox=self._box(*item.box),
                id=str(item.id),
            )
            for item in result.objects
            if item.box is not None
        ]
        return self._types.Detection2DArray(header=header, detections=found)

    def camera_info(self, calibration: Calibration, frame: FrameStamp) -> Any:
        """sensor_msgs/CameraInfo of a frame."""
        return self._types.CameraInfo(
            header=self.header(frame),
            height=calibration.image_height,
            width=calibration.image_width,
            distortion_model=calibration.distortion_model,
            d=list(calibration.distortion_coefficients.data),
            k=list(calibration.camera_matrix.data),
            r=list(calibration.rectification_matrix.data),
            p=list(calibration.projection_matrix.data),
        )

    def _hypothesis(self, class_id: str, score: float) -> Any:
        hypothesis = self._types.ObjectHypothesis(class_id=class_id, score=float(score))
        return self._types.ObjectHypothesisWithPose(hypothesis=hypothesis)

    def _box(self, x0: int, y0: int, x1: int, y1: int) -> Any:
        middle = self._types.Point2D(x=(x0 + x1) / 2, y=(y0 + y1) / 2)
        center = self._types.Pose2D(position=middle, theta=0.0)
        return self._types.BoundingBox2D(
            center=center, size_x=float(x1 - x0), size_y=float(y1 - y0)
        )


def _ids(result: Result) -> tuple[NDArray[np.integer[Any]], str]:
    """Ids of objects per pixel [H, W], and ROS's name of their encoding."""
    masks, frame = result.masks(), result.message.frame
    largest = max(masks, default=0)
    encoding, dtype = next((name, kind) for most, name, kind in _PIXELS if largest <= most)
    ids_hw = np.zeros((frame.height, frame.width), dtype)
    for item in sorted(result.objects, key=lambda item: (item.score, -item.id)):
        if item.id in masks:
            ids_hw[masks[item.id]] = item.id
    return ids_hw, encoding


def prompts_of(message: Any) -> list[NewPlace]:
    """Prompts of a vision_msgs/Detection2DArray; a box without a size is a click.

    `id` names an object that is tracked, and is empty for a new one; the first hypothesis names the
    label. The stamp of the header names the frame, as the messages of `Translator` carry it; 0
    means the newest.

    Raises:
        PromptError: There are too many, or an id is none.
    """
    if len(message.detections) > MAX_PROMPTS:
        raise PromptError(
            f"{len(message.detections)} detections in a prompt", f"send at most {MAX_PROMPTS}"
        )
    stamp = message.header.stamp
    captured_ns = stamp.sec * _NS + stamp.nanosec
    frame = FrameAddress(captured_ns=captured_ns) if captured_ns > 0 else None
    return [_prompt(detection, frame) for detection in message.detections]


def _prompt(detection: Any, frame: FrameAddress | None) -> NewPlace:
    if detection.id and not _ID.fullmatch(detection.id):
        raise PromptError("the id of a detection is no number", "leave it empty for a new object")
    place: NewPlace = {"frame": frame, "object": int(detection.id) if detection.id else None}
    if detection.results and detection.results[0].hypothesis.class_id:
        place["label"] = detection.results[0].hypothesis.class_id
    middle, box = detection.bbox.center.position, detection.bbox
    if box.size_x == 0 and box.size_y == 0:
        place["points"] = [(middle.x, middle.y)]
    else:
        half_x, half_y = box.size_x / 2, box.size_y / 2
        place["box"] = (
            middle.x - half_x,
            middle.y - half_y,
            middle.x + half_x,
            middle.y + half_y,
        )
    return place
