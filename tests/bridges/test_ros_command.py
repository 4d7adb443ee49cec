"""`trackd ros` beside a second participant, in a process of its own, that knows no code of ours."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import yaml

pytest.importorskip("cyclonedds", reason="the extra ros is not installed")

from tests.support.bridges import Program, sending, trackd
from tests.support.fake_daemon import FakeDaemon, daemon
from tests.support.received import result
from tests.support.ros_types import CALIBRATION, ros_types
from tests.support.tracked_frames import HEIGHT, WIDTH, disc, found, tracked, wait_until
from tracker.bridges.ros import messages
from tracker.bridges.ros.calibration import read_calibration
from tracker.bridges.ros.participant import Participant
from tracker.bridges.ros.run import RosSettings, StreamTopics
from tracker.cli.main import main
from tracker.errors import TrackdError
from tracker.protocol.requests import PromptObject

DOMAIN = "77"
IMAGE, DETECTIONS = "sensor_msgs/msg/Image", "vision_msgs/msg/Detection2DArray"
STORE = ros_types()
DISC_HW = disc(20, 20)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    with daemon() as fake:
        monkeypatch.setenv("TRACKD_CONTROL", fake.control)
        monkeypatch.setenv("TRACKD_DATA", fake.data)
        yield fake


@pytest.fixture
def prefix() -> str:
    """A namespace of its own, as other tests may use the same domain."""
    return f"t{uuid4().hex}"


def peer(*argv: str) -> Program:
    return Program("tests/support/ros_peer.py", DOMAIN, *argv)


@pytest.mark.slow
def test_a_second_participant_receives_results_and_prompts(fake: FakeDaemon, prefix: str) -> None:
    label_map, detections, prompt = (
        f"rt/{prefix}/cam1/{name}" for name in ("label_map", "detections", "prompt")
    )
    asked = prompt_cdr()
    no_text = asked.replace(b"mug", b"\xff\xff\xff")
    options = ("--domain", DOMAIN, "--topic-prefix", prefix, "--frame-id", "camera_link")
    with (
        sending(fake, lambda seq: tracked(seq, (found(1, DISC_HW, label="cup"),))),
        trackd(fake, "ros", "cam1", *options) as ros,
        peer("receive", "2", label_map, IMAGE, detections, DETECTIONS) as arm,
        peer("send", prompt, DETECTIONS, no_text.hex(), asked.hex()) as person,
    ):
        assert arm.wait() == 0, arm.all_lines
        assert person.wait() == 0, person.all_lines
        ros.line("warning: a prompt for cam1")
        assert ros.line("object 1") == "trackd: cam1: object 1 is visible"
        assert ros.end() == 0
        summary = ros.line("published")
    received = [line.split() for line in arm.all_lines[1:]]
    image, later, *_ = (
        STORE.deserialize_cdr(bytes.fromhex(data), IMAGE)
        for topic, data in received
        if topic == label_map
    )
    array = next(
        STORE.deserialize_cdr(bytes.fromhex(data), DETECTIONS)
        for topic, data in received
        if topic == detections
    )
    ids_hw = image.data.reshape(HEIGHT, WIDTH)
    assert np.array_equal(ids_hw, DISC_HW)
    assert image.header.frame_id == "camera_link"
    assert image.header.stamp.sec == 10**9
    assert later.header.stamp.nanosec > image.header.stamp.nanosec
    assert array.detections[0].results[0].hypothesis.class_id == "cup"
    (sent,) = (request for request in fake.requests if isinstance(request, PromptObject))
    assert sent.box == (16.0, 8.0, 24.0, 12.0)
    assert sent.label == "mug"
    assert sent.frame is not None
    assert sent.frame.captured_ns == 10**18 + 5
    assert summary.endswith("0 failed; 1 prompts, 1 refused")


def test_a_subscriber_that_asks_for_more_than_is_offered_is_told_of(
    prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    participant = Participant(int(DOMAIN) + 1, "loopback")
    name = f"/{prefix}/cam1"
    topics = StreamTopics(participant, RosSettings(streams=("cam1",)), "cam1", name)
    reliable = participant.reader(f"{name}/detections", messages.Detection2DArray)
    got = result(1, (found(1, DISC_HW),))
    with caplog.at_level("WARNING", logger="trackd.ros"):
        wait_until(lambda: topics.publish(got) or caplog.messages)
        topics.publish(got)
    assert caplog.messages == [
        f"a subscriber of {name}/detections asks for reliable messages, which are not offered; "
        "let it take sensor data, or start with --qos reliable"
    ]
    assert reliable.take() == []


class Subscribed:
    """A writer with subscribers."""

    name, has_readers, refused = "/info", True, 0

    def __init__(self) -> None:
        self.written: list[Any] = []

    def write(self, message: Any) -> None:
        self.written.append(message)


@pytest.mark.parametrize(("width", "fits"), [(WIDTH, True), (10 * WIDTH, False)])
def test_a_calibration_goes_with_frames_of_its_size_alone(
    width: int, fits: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "door.yaml"
    path.write_text(yaml.safe_dump(CALIBRATION | {"image_width": width}))
    settings = RosSettings(streams=("cam1",), calibrations={"cam1": read_calibration(path)})
    writers = {}

    def writer(name: str, kind: type, reliability: str) -> Subscribed:
        return writers.setdefault(name, Subscribed())

    topics = StreamTopics(SimpleNamespace(writer=writer), settings, "cam1", "/t/cam1")
    for seq in (1, 2):
        topics.publish(result(seq, (found(1, DISC_HW),)))
    infos = writers["/t/cam1/camera_info"].written
    stamps = [image.header.stamp for image in writers["/t/cam1/label_map"].written]
    assert [info.header.stamp for info in infos] == (stamps if fits else [])
    said = f"no camera_info of cam1: it is for {width}x48 pixels, the frames have 64x48"
    assert caplog.messages == ([] if fits else [said])


def test_a_topic_that_takes_nothing_holds_up_no_other() -> None:
    class Stuck(Subscribed):
        def write(self, message: Any) -> None:
            raise TrackdError("cannot publish on /t/cam1/detections: timeout")

    writers = {"/t/cam1/detections": Stuck(), "/t/cam1/label_map": Subscribed()}
    participant = SimpleNamespace(writer=lambda name, kind, reliability: writers[name])
    topics = StreamTopics(participant, RosSettings(streams=("cam1",)), "cam1", "/t/cam1")
    with pytest.raises(TrackdError, match="detections: timeout"):
        topics.publish(result(1, (found(1, DISC_HW),)))
    assert len(writers["/t/cam1/label_map"].written) == 1


def prompt_cdr() -> bytes:
    """A prompt by rosbags' classes."""
    types = {name.rpartition("/")[2]: kind for name, kind in STORE.types.items()}
    vision = {n.rpartition("/")[2]: k for n, k in STORE.types.items() if n.startswith("vision")}
    header = types["Header"](types["Time"](10**9, 5), "")
    pose = types["PoseWithCovariance"](
        types["Pose"](types["Point"](0, 0, 0), types["Quaternion"](0, 0, 0, 1)), np.zeros(36)
    )
    hypothesis = vision["ObjectHypothesis"]("mug", 1.0)
    box = vision["BoundingBox2D"](vision["Pose2D"](vision["Point2D"](20, 10), 0.0), 8.0, 4.0)
    result = vision["ObjectHypothesisWithPose"](hypothesis, pose)
    detection = vision["Detection2D"](header, [result], box, "")
    array = vision["Detection2DArray"](header, [detection])
    return bytes(STORE.serialize_cdr(array, DETECTIONS))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["dor"], "there is no stream dor; there are cam1"),
        (["cam1", "--qos", "best"], "argument --qos: invalid choice: 'best'"),
        (["cam1", "--domain", "233"], "DDS domain 233: not from 0 to 232; give --domain N"),
        (["cam1", "--topic-prefix", "1st"], "--topic-prefix 1st is no name of ROS 2"),
        (["cam1", "--frame-id", "cam2=x"], "--frame-id cam2=x: there is no stream cam2"),
        (["cam1", "--camera-info", "none.yaml"], "cannot read none.yaml: No such file"),
    ],
)
def test_wrong_usage_is_one_line(
    argv: list[str], said: str, fake: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ros", *argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"trackd: error: {said}")


def test_a_domain_of_the_environment_is_checked(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "kitchen")
    assert main(["ros", "cam1"]) == 2
    assert "DDS domain kitchen" in capsys.readouterr().err


def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cyclonedds", None)
    assert main(["ros", "cam1"]) == 2
    said = capsys.readouterr().err
    assert "trackd ros needs cyclonedds" in said
    assert "pip install 'trackd[ros]'" in said


def test_a_daemon_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"ipc://{tmp_path}/none"
    assert main(["ros", "cam1", "--control", nowhere, "--data", nowhere]) == 1
    assert "nothing listens" in capsys.readouterr().err
