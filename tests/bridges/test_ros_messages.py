"""ROS 2 messages of results: values and bytes by rosbags' definitions."""

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("cyclonedds", reason="the extra ros is not installed")

from tests.support.received import result
from tests.support.ros_types import CALIBRATION, ros_types
from tests.support.tracked_frames import HEIGHT, WIDTH, disc, found
from tracker.bridges.ros import messages
from tracker.bridges.ros.calibration import read_calibration
from tracker.bridges.ros.names import namespaces
from tracker.bridges.ros.translate import MAX_PROMPTS, Translator, prompts_of
from tracker.errors import PromptError, UsageError
from tracker.protocol.fields import FrameAddress
from tracker.types import ObjectState

STORE = ros_types()
TRANSLATOR = Translator(messages, "camera_link")


def read(message: Any, name: str) -> Any:
    """The message as rosbags reads its bytes; the same bytes come of it again."""
    cdr = message.serialize(use_version_2=False)
    value = STORE.deserialize_cdr(cdr, name)
    again = bytes(STORE.serialize_cdr(value, name))
    assert cdr[: len(again)] == again
    assert not any(cdr[len(again) :])  # at most padding
    return value


def test_a_label_map_holds_ids_and_the_time_of_capture() -> None:
    below, above = disc(20, 20, 9), disc(26, 20, 9)
    got = result(7, (found(1, below, score=0.6), found(255, above, score=0.9)))
    image = read(TRANSLATOR.label_map(got), "sensor_msgs/msg/Image")
    captured_ns = image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
    assert captured_ns == 10**18 + 7
    assert image.header.frame_id == "camera_link"
    assert (image.height, image.width, image.step) == (HEIGHT, WIDTH, WIDTH)
    assert image.encoding == "mono8"
    ids_hw = image.data.reshape(HEIGHT, WIDTH)
    assert np.array_equal(ids_hw == 255, above)
    assert np.array_equal(ids_hw == 1, below & ~above)


@pytest.mark.parametrize(
    ("object_id", "encoding", "dtype"),
    [(256, "mono16", "<u2"), (65535, "mono16", "<u2"), (65536, "32SC1", "<i4")],
)
def test_large_ids_get_wider_pixels(object_id: int, encoding: str, dtype: str) -> None:
    got = result(1, (found(object_id, disc(20, 20)),))
    image = read(TRANSLATOR.label_map(got), "sensor_msgs/msg/Image")
    assert image.encoding == encoding
    assert image.is_bigendian == 0
    pixels = np.frombuffer(image.data.tobytes(), dtype).reshape(HEIGHT, WIDTH)
    assert image.step == WIDTH * pixels.itemsize
    assert set(np.unique(pixels)) == {0, object_id}


def test_detections_are_those_in_sight() -> None:
    square_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
    square_hw[10:20, 30:50] = True
    gone = found(4, np.zeros_like(square_hw), state=ObjectState.LOST)
    got = result(3, (found(2, square_hw, label="Tasse ü", score=0.75), gone))
    array = read(TRANSLATOR.detections(got), "vision_msgs/msg/Detection2DArray")
    (detection,) = array.detections
    assert detection.id == "2"
    assert detection.header.stamp == array.header.stamp
    (hypothesis,) = detection.results
    assert (hypothesis.hypothesis.class_id, hypothesis.hypothesis.score) == ("Tasse ü", 0.75)
    box = detection.bbox
    assert (box.center.position.x, box.center.position.y) == (40.0, 15.0)
    assert (box.size_x, box.size_y, box.center.theta) == (20.0, 10.0, 0.0)


def test_nothing_tracked_is_an_empty_message() -> None:
    got = result(3, (found(4, np.zeros((HEIGHT, WIDTH), np.bool_)),))
    assert not read(TRANSLATOR.detections(got), "vision_msgs/msg/Detection2DArray").detections
    assert not read(TRANSLATOR.label_map(got), "sensor_msgs/msg/Image").data.any()


def test_a_calibration_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "door.yaml"
    path.write_text(yaml.safe_dump(CALIBRATION))
    frame = result(5, (found(1, disc(20, 20)),)).message.frame
    info = TRANSLATOR.camera_info(read_calibration(path), frame)
    value = read(info, "sensor_msgs/msg/CameraInfo")
    assert (value.width, value.height, value.distortion_model) == (64, 48, "plumb_bob")
    assert value.d.tolist() == [0.1, -0.2, 0.001, 0.002, 0.0]
    assert value.k.tolist() == [50, 0, 32, 0, 51, 24, 0, 0, 1]
    assert value.r.tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert value.p.tolist() == [50, 0, 32, 0, 0, 51, 24, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2", "no YAML"),
        ("just text", "should be a valid dictionary"),
        ("image_width: 3", "image_height"),
        (yaml.safe_dump(CALIBRATION | {"camera_matrix": {"data": [1.0]}}), "camera_matrix.data"),
        (yaml.safe_dump(CALIBRATION | {"image_width": float("nan")}), "image_width"),
        ("a" * 70_000, "too long"),
    ],
)
def test_what_is_no_calibration_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "door.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        read_calibration(path)
    assert str(path) in str(caught.value)


class AnyMessages:
    """Classes that are made by keyword, as rosidl's Python classes are."""

    def __getattr__(self, name: str) -> Any:
        return lambda **fields: SimpleNamespace(type=name, **fields)


def test_messages_of_other_packages_get_the_same_fields() -> None:
    got = result(7, (found(1, disc(20, 20)),))
    other = Translator(AnyMessages(), "camera_link").detections(got)
    ours = TRANSLATOR.detections(got)
    assert other.type == "Detection2DArray"
    assert other.detections[0].bbox.size_x == ours.detections[0].bbox.size_x
    assert other.header.stamp.nanosec == ours.header.stamp.nanosec


def prompt(box: tuple[float, float, float, float], object_id: str = "", label: str = "") -> Any:
    x, y, width, height = box
    center = messages.Pose2D(messages.Point2D(x, y))
    hypothesis = messages.ObjectHypothesisWithPose(messages.ObjectHypothesis(label))
    return messages.Detection2D(
        results=[hypothesis] if label else [],
        bbox=messages.BoundingBox2D(center, width, height),
        id=object_id,
    )


def test_detections_are_prompts() -> None:
    header = messages.Header(messages.Time(10**9, 7))
    asked = messages.Detection2DArray(
        header, [prompt((20, 10, 8, 4), label="cup"), prompt((5, 6, 0, 0), "12")]
    )
    box, click = prompts_of(asked)
    assert box["box"] == (16.0, 8.0, 24.0, 12.0)
    assert (box["object"], box["label"]) == (None, "cup")
    assert box["frame"] == FrameAddress(captured_ns=10**18 + 7)
    assert click["points"] == [(5, 6)]
    assert click["object"] == 12
    (newest,) = prompts_of(messages.Detection2DArray(detections=[prompt((5, 6, 2, 2))]))
    assert newest["frame"] is None


def test_what_is_no_prompt_is_refused() -> None:
    with pytest.raises(PromptError, match="no number"):
        prompts_of(messages.Detection2DArray(detections=[prompt((5, 6, 2, 2), "cup")]))
    many = [prompt((5, 6, 2, 2))] * (MAX_PROMPTS + 1)
    with pytest.raises(PromptError, match="at most"):
        prompts_of(messages.Detection2DArray(detections=many))


def test_streams_have_names_that_ros_takes() -> None:
    assert namespaces("/robot/eyes/", ["cam-1", "2nd", "a_-b_"]) == {
        "cam-1": "/robot/eyes/cam_1",
        "2nd": "/robot/eyes/stream_2nd",
        "a_-b_": "/robot/eyes/a_b",
    }
    with pytest.raises(UsageError, match="would both be /t/cam_1"):
        namespaces("t", ["cam-1", "cam_1"])
    for prefix in ("", "1st", "a__b", "a//b", "a b", "ü"):
        with pytest.raises(UsageError, match="--topic-prefix"):
            namespaces(prefix, ["cam"])


def test_the_data_of_an_image_are_one_piece() -> None:
    """As CycloneDDS itself writes the sequence, byte by byte."""
    pixels = bytes(range(12))
    made = messages.Image(encoding="mono8", height=3, width=4, step=4, data=pixels)
    slowly = super(messages.Image, made).serialize(use_version_2=False)
    assert made.serialize(use_version_2=False) == slowly
    assert made.data == pixels
    assert struct.unpack_from("<I", slowly, len(slowly) - 16) == (12,)
