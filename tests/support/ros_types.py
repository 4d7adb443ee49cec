"""Definitions of ROS 2 messages that are not ours: those of rosbags, and .msg files."""

import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed")

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

#: From github.com/ros-perception/vision_msgs, branch ros2 (4.x), without comments.
VISION_MSGS = {
    "Point2D": "float64 x\nfloat64 y\n",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta\n",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n",
    "ObjectHypothesis": "string class_id\nfloat64 score\n",
    "ObjectHypothesisWithPose": (
        "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "Detection2D": (
        "std_msgs/Header header\nObjectHypothesisWithPose[] results\n"
        "BoundingBox2D bbox\nstring id\n"
    ),
    "Detection2DArray": "std_msgs/Header header\nDetection2D[] detections\n",
}
#: A file of camera_calibration.
CALIBRATION = {
    "image_width": 64,
    "image_height": 48,
    "camera_name": "door",
    "distortion_model": "plumb_bob",
    "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, -0.2, 0.001, 0.002, 0.0]},
    "camera_matrix": {"rows": 3, "cols": 3, "data": [50.0, 0, 32, 0, 51, 24, 0, 0, 1]},
    "rectification_matrix": {"rows": 3, "cols": 3, "data": [1, 0, 0, 0, 1, 0, 0, 0, 1]},
    "projection_matrix": {"rows": 3, "cols": 4, "data": [50, 0, 32, 0, 0, 51, 24, 0, 0, 0, 1, 0]},
}


def ros_types() -> Typestore:
    """Types of Humble, with those of vision_msgs."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    added = {}
    for name, text in VISION_MSGS.items():
        added.update(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    store.register(added)
    return store
