"""Node of rclpy with the topics of `trackd ros`, for machines with ROS 2; it was never run on one.

python -m tracker.bridges.ros.node --ros-args -p streams:="[door]" -p frame_id:=camera_link

It needs rclpy, sensor_msgs and vision_msgs of the ROS 2 installation, and trackd-client.
"""
# What ROS 2 installs is unknown where types are checked.
# mypy: disable-error-code="misc"

import threading
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
)

from tracker.bridges.ros.names import namespaces
from tracker.bridges.ros.translate import Translator, prompts_of
from tracker.client import Client, Result
from tracker.errors import TrackdError

_WAIT_S = 0.2
_WAITING = 16


class Types:
    """The messages of the installation."""

    Time = Time
    Header = Header
    Image = Image
    CameraInfo = CameraInfo
    Detection2DArray = Detection2DArray
    Detection2D = Detection2D
    BoundingBox2D = BoundingBox2D
    Pose2D = Pose2D
    Point2D = Point2D
    ObjectHypothesisWithPose = ObjectHypothesisWithPose
    ObjectHypothesis = ObjectHypothesis


class TrackdNode(Node):
    """Publishes detections and label maps of streams, and passes prompts to the daemon.

    Args:
        client: Of the daemon.

    Raises:
        UsageError: The parameters are no names of ROS 2.
    """

    def __init__(self, client: Client) -> None:
        super().__init__("trackd")
        self._client = client
        self.streams = list(self.declare_parameter("streams", ["camera"]).value)
        prefix = str(self.declare_parameter("topic_prefix", "trackd").value)
        frame_id = str(self.declare_parameter("frame_id", "").value)
        self._translators = {one: Translator(Types, frame_id or one) for one in self.streams}
        self._detections: dict[str, Any] = {}
        self._label_maps: dict[str, Any] = {}
        for stream, name in namespaces(prefix, self.streams).items():
            self._detections[stream] = self.create_publisher(
                Detection2DArray, f"{name}/detections", qos_profile_sensor_data
            )
            self._label_maps[stream] = self.create_publisher(
                Image, f"{name}/label_map", qos_profile_sensor_data
            )
            self.create_subscription(
                Detection2DArray,
                f"{name}/prompt",
                lambda message, stream=stream: self.prompt(stream, message),
                QoSProfile(depth=_WAITING),
            )

    def publish(self, result: Result) -> None:
        """Publish what someone subscribes to."""
        translator = self._translators[result.stream]
        detections, label_map = self._detections[result.stream], self._label_maps[result.stream]
        if detections.get_subscription_count():
            detections.publish(translator.detections(result))
        if label_map.get_subscription_count():
            label_map.publish(translator.label_map(result))

    def prompt(self, stream: str, message: Any) -> None:
        """Pass detections to the daemon as prompts."""
        try:
            for place in prompts_of(message):
                self._client.prompt(stream, **place)
        except TrackdError as error:
            self.get_logger().warning(f"a prompt for {stream}: {error}")


def _publish_until(ended: threading.Event, client: Client, node: TrackdNode) -> None:
    with client.results_and_events(*node.streams) as subscription:
        while not ended.is_set():
            received = subscription.receive(_WAIT_S)
            if isinstance(received, Result):
                node.publish(received)


def main() -> None:
    """Publish until the node is shut down."""
    rclpy.init()
    with Client() as client:
        node = TrackdNode(client)
        ended = threading.Event()

        def pass_on() -> None:
            try:
                _publish_until(ended, client, node)
            except Exception as error:  # a node that is there and says nothing helps nobody
                node.get_logger().fatal(f"ended: {type(error).__name__}: {error}")
                rclpy.try_shutdown()

        thread = threading.Thread(target=pass_on)
        thread.start()
        try:
            rclpy.spin(node)
        finally:
            ended.set()
            thread.join()


if __name__ == "__main__":
    main()
