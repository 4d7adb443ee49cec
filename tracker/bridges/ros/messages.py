"""Standard messages of ROS 2, as IDL types of CycloneDDS.

Fields and their order are those of the .msg files of builtin_interfaces, std_msgs, geometry_msgs
and sensor_msgs, and of vision_msgs 4 (Humble and later), all Apache-2.0. Type names follow the
mapping of ROS 2 to DDS: `sensor_msgs/msg/Image` is `sensor_msgs::msg::dds_::Image_`.
"""
# The extra may be missing where types are checked: its base class is then unknown.
# mypy: disable-error-code="misc, call-arg"

import struct
from dataclasses import dataclass, field, replace
from typing import Any

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import array, float64, int32, sequence, uint8, uint32

_LENGTH = struct.Struct("=I")


@dataclass
class Time(IdlStruct, typename="builtin_interfaces.msg.dds_.Time_"):
    """Time since 1970 in seconds and nanoseconds."""

    sec: int32 = 0
    nanosec: uint32 = 0


@dataclass
class Header(IdlStruct, typename="std_msgs.msg.dds_.Header_"):
    """Time of the data and its coordinate frame."""

    stamp: Time = field(default_factory=Time)
    frame_id: str = ""


@dataclass
class Image(IdlStruct, typename="sensor_msgs.msg.dds_.Image_"):
    """Picture, rows of `step` bytes one after the other; `data` is bytes, or an array of them."""

    header: Header = field(default_factory=Header)
    height: uint32 = 0
    width: uint32 = 0
    encoding: str = ""
    is_bigendian: uint8 = 0
    step: uint32 = 0
    data: sequence[uint8] = b""

    def serialize(self, *given: Any, **options: Any) -> bytes:
        """CDR bytes: the fields by CycloneDDS, the data, which come last, in one piece.

        Byte by byte, as CycloneDDS writes a sequence, a picture takes tens of milliseconds.
        """
        without_data: bytes = IdlStruct.serialize(replace(self, data=b""), *given, **options)
        data = bytes(self.data)
        return b"".join((without_data[: -_LENGTH.size], _LENGTH.pack(len(data)), data))


@dataclass
class RegionOfInterest(IdlStruct, typename="sensor_msgs.msg.dds_.RegionOfInterest_"):
    """Part of the sensor that a picture shows; zeros for all of it."""

    x_offset: uint32 = 0
    y_offset: uint32 = 0
    height: uint32 = 0
    width: uint32 = 0
    do_rectify: bool = False


@dataclass
class CameraInfo(IdlStruct, typename="sensor_msgs.msg.dds_.CameraInfo_"):
    """Calibration of a camera: distortion `d`, matrices `k` (3x3), `r` (3x3) and `p` (3x4)."""

    header: Header = field(default_factory=Header)
    height: uint32 = 0
    width: uint32 = 0
    distortion_model: str = ""
    d: sequence[float64] = ()
    k: array[float64, 9] = (0.0,) * 9
    r: array[float64, 9] = (0.0,) * 9
    p: array[float64, 12] = (0.0,) * 12
    binning_x: uint32 = 0
    binning_y: uint32 = 0
    roi: RegionOfInterest = field(default_factory=RegionOfInterest)


@dataclass
class Point(IdlStruct, typename="geometry_msgs.msg.dds_.Point_"):
    """Position in space."""

    x: float64 = 0.0
    y: float64 = 0.0
    z: float64 = 0.0


@dataclass
class Quaternion(IdlStruct, typename="geometry_msgs.msg.dds_.Quaternion_"):
    """Orientation in space."""

    x: float64 = 0.0
    y: float64 = 0.0
    z: float64 = 0.0
    w: float64 = 1.0


@dataclass
class Pose(IdlStruct, typename="geometry_msgs.msg.dds_.Pose_"):
    """Position and orientation in space."""

    position: Point = field(default_factory=Point)
    orientation: Quaternion = field(default_factory=Quaternion)


@dataclass
class PoseWithCovariance(IdlStruct, typename="geometry_msgs.msg.dds_.PoseWithCovariance_"):
    """Pose and its covariance, 6x6 by rows."""

    pose: Pose = field(default_factory=Pose)
    covariance: array[float64, 36] = (0.0,) * 36


@dataclass
class Point2D(IdlStruct, typename="vision_msgs.msg.dds_.Point2D_"):
    """Position on a picture, in pixels."""

    x: float64 = 0.0
    y: float64 = 0.0


@dataclass
class Pose2D(IdlStruct, typename="vision_msgs.msg.dds_.Pose2D_"):
    """Position on a picture in pixels, and rotation in radians."""

    position: Point2D = field(default_factory=Point2D)
    theta: float64 = 0.0


@dataclass
class BoundingBox2D(IdlStruct, typename="vision_msgs.msg.dds_.BoundingBox2D_"):
    """Box on a picture: middle and sides, in pixels."""

    center: Pose2D = field(default_factory=Pose2D)
    size_x: float64 = 0.0
    size_y: float64 = 0.0


@dataclass
class ObjectHypothesis(IdlStruct, typename="vision_msgs.msg.dds_.ObjectHypothesis_"):
    """Class of an object and its score."""

    class_id: str = ""
    score: float64 = 0.0


@dataclass
class ObjectHypothesisWithPose(
    IdlStruct, typename="vision_msgs.msg.dds_.ObjectHypothesisWithPose_"
):
    """Class of an object, its score, and where in space it is; zeros where that is not known."""

    hypothesis: ObjectHypothesis = field(default_factory=ObjectHypothesis)
    pose: PoseWithCovariance = field(default_factory=PoseWithCovariance)


@dataclass
class Detection2D(IdlStruct, typename="vision_msgs.msg.dds_.Detection2D_"):
    """Object on a picture."""

    header: Header = field(default_factory=Header)
    results: sequence[ObjectHypothesisWithPose] = ()
    bbox: BoundingBox2D = field(default_factory=BoundingBox2D)
    id: str = ""


@dataclass
class Detection2DArray(IdlStruct, typename="vision_msgs.msg.dds_.Detection2DArray_"):
    """Objects on a picture."""

    header: Header = field(default_factory=Header)
    detections: sequence[Detection2D] = ()
