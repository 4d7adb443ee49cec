"""The node of rclpy, with stand-ins for what ROS 2 installs: which topics, and what goes where."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support.received import result
from tests.support.tracked_frames import disc, found
from tracker.errors import UsageError

MESSAGES = {
    "builtin_interfaces.msg": ("Time",),
    "std_msgs.msg": ("Header",),
    "sensor_msgs.msg": ("CameraInfo", "Image"),
    "vision_msgs.msg": (
        "BoundingBox2D",
        "Detection2D",
        "Detection2DArray",
        "ObjectHypothesis",
        "ObjectHypothesisWithPose",
        "Point2D",
        "Pose2D",
    ),
}


class Publisher:
    def __init__(self) -> None:
        self.published: list[Any] = []
        self.subscribers = 0

    def get_subscription_count(self) -> int:
        return self.subscribers

    def publish(self, message: Any) -> None:
        self.published.append(message)


PARAMETERS = {"streams": ["cam1"], "topic_prefix": "eyes", "frame_id": "link"}


class Node:
    def __init__(self, name: str) -> None:
        self.publishers_by_topic: dict[str, Publisher] = {}
        self.callbacks: dict[str, Any] = {}
        self.warnings: list[str] = []

    def declare_parameter(self, name: str, default: Any) -> Any:
        return SimpleNamespace(value=PARAMETERS.get(name, default))

    def create_publisher(self, kind: Any, topic: str, qos: Any) -> Publisher:
        return self.publishers_by_topic.setdefault(topic, Publisher())

    def create_subscription(self, kind: Any, topic: str, callback: Any, qos: Any) -> None:
        self.callbacks[topic] = callback

    def get_logger(self) -> Any:
        return SimpleNamespace(warning=self.warnings.append)


@pytest.fixture
def node_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, classes in MESSAGES.items():
        module = ModuleType(name)
        for one in classes:
            setattr(module, one, type(one, (SimpleNamespace,), {}))
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setitem(sys.modules, name.partition(".")[0], ModuleType(name))
    qos = ModuleType("rclpy.qos")
    qos.__dict__.update(QoSProfile=lambda depth: depth, qos_profile_sensor_data="sensor data")
    node = ModuleType("rclpy.node")
    node.__dict__.update(Node=Node)
    for name, module in (("rclpy", ModuleType("rclpy")), ("rclpy.qos", qos), ("rclpy.node", node)):
        monkeypatch.setitem(sys.modules, name, module)
    yield importlib.import_module("tracker.bridges.ros.node")
    del sys.modules["tracker.bridges.ros.node"]


def test_results_go_to_topics_that_have_subscribers(node_module: Any) -> None:
    node = node_module.TrackdNode(SimpleNamespace())
    topics = node.publishers_by_topic
    assert set(topics) == {"/eyes/cam1/detections", "/eyes/cam1/label_map"}
    got = result(7, (found(1, disc(20, 20), label="cup"),))
    topics["/eyes/cam1/detections"].subscribers = 1
    node.publish(got)
    assert not topics["/eyes/cam1/label_map"].published
    (array,) = topics["/eyes/cam1/detections"].published
    assert array.header.frame_id == "link"
    assert array.detections[0].results[0].hypothesis.class_id == "cup"
    topics["/eyes/cam1/label_map"].subscribers = 1
    node.publish(got)
    (image,) = topics["/eyes/cam1/label_map"].published
    assert len(image.data) == image.step * image.height


def test_prompts_go_to_the_daemon_and_what_is_refused_is_logged(node_module: Any) -> None:
    asked = []

    def prompt(stream: str, **place: Any) -> None:
        asked.append((stream, place["points"]))
        raise UsageError("no frame yet", "wait")

    node = node_module.TrackdNode(SimpleNamespace(prompt=prompt))
    middle = SimpleNamespace(x=5.0, y=6.0)
    box = SimpleNamespace(center=SimpleNamespace(position=middle), size_x=0.0, size_y=0.0)
    detection = SimpleNamespace(id="", results=[], bbox=box)
    header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0))
    node.callbacks["/eyes/cam1/prompt"](SimpleNamespace(header=header, detections=[detection]))
    assert asked == [("cam1", [(5.0, 6.0)])]
    assert node.warnings == ["a prompt for cam1: no frame yet; wait"]
