"""`trackd view`: what Foxglove and Rerun get, read by their own means in another process."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.bridges import Program, sending, trackd
from tests.support.fake_daemon import FakeDaemon, daemon
from tests.support.received import picture, result
from tests.support.tracked_frames import disc, found, tracked
from tracker.bridges.scenes import Scene
from tracker.cli.main import main
from tracker.daemon.messages import Tracked

DISC_HW = disc(20, 20)
GRADIENT = np.tile(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], (48, 1, 3))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    with daemon() as fake:
        monkeypatch.setenv("TRACKD_CONTROL", fake.control)
        monkeypatch.setenv("TRACKD_DATA", fake.data)
        yield fake


def frame(seq: int) -> Tracked:
    return tracked(seq, (found(2, DISC_HW, label="cup", score=0.75),), image=GRADIENT)


@pytest.mark.slow
def test_foxglove_gets_pictures_and_annotations(fake: FakeDaemon) -> None:
    pytest.importorskip("foxglove", reason="the extra foxglove is not installed")
    pytest.importorskip("websockets")
    pytest.importorskip("google.protobuf")
    with (
        sending(fake, frame),
        trackd(fake, "view", "cam1", "--foxglove", "--port", "0") as view,
    ):
        address = view.line("in Foxglove").split()[2]
        assert address.startswith("ws://127.0.0.1:")
        with Program("tests/support/foxglove_peer.py", address, "3") as viewer:
            assert viewer.wait() == 0, viewer.all_lines
        assert view.end() == 0
        assert view.line("showed")
    messages = [json.loads(line) for line in viewer.all_lines]
    pictures = {m["time_ns"]: m for m in messages if m["topic"] == "/cam1/picture"}
    objects = {m["time_ns"]: m for m in messages if m["topic"] == "/cam1/objects"}
    assert len(pictures) == len(objects) == 3
    time_ns = max(pictures.keys() & objects.keys())  # both of one frame
    assert 10**18 <= time_ns < 10**18 + 10_000
    fields = pictures[time_ns]["fields"]
    assert fields["format"] == "jpeg"
    data = np.frombuffer(base64.b64decode(fields["data"]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert np.abs(image.astype(int) - GRADIENT).max() < 16
    (outline,) = objects[time_ns]["fields"]["points"]
    assert outline["type"] == "LINE_LOOP"
    corners = np.array([[p.get("x", 0), p.get("y", 0)] for p in outline["points"]], np.float32)
    assert abs(cv2.contourArea(corners) - DISC_HW.sum()) < 10
    assert cv2.pointPolygonTest(corners, (20, 20), measureDist=False) > 0
    assert objects[time_ns]["fields"]["texts"][0]["text"] == "2 cup 0.75"


@pytest.mark.slow
def test_rerun_gets_pictures_masks_and_boxes(fake: FakeDaemon, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra rerun is not installed")
    path = tmp_path / "cam.rrd"
    with (
        sending(fake, frame),
        trackd(fake, "view", "cam1", "--rerun", str(path)) as view,
    ):
        view.line("showing cam1")
        while path.stat().st_size < 20_000:
            assert view.process.poll() is None, view.all_lines
            time.sleep(0.05)
        assert view.end() == 0
        shown = int(view.line("showed").split()[1])
    with Program("tests/support/rerun_peer.py", str(path)) as reader:
        assert reader.wait() == 0, reader.all_lines
    rows = [json.loads(line) for line in reader.all_lines]
    pictures, masks, boxes = (
        [row for row in rows if row["entity"] == f"/cam1/picture{entity}" and key in row]
        for entity, key in (
            ("", "EncodedImage:blob"),
            ("/masks", "SegmentationImage:buffer"),
            ("/boxes", "Boxes2D:half_sizes"),
        )
    )
    pictures = [row for row in pictures if row["EncodedImage:blob"]]
    assert len(pictures) == len(masks) == len(boxes) == shown
    image = cv2.imdecode(np.array(pictures[0]["EncodedImage:blob"][0], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (48, 64, 3)
    ids = np.array(masks[0]["SegmentationImage:buffer"][0], np.uint8).view("<u2")
    assert np.array_equal(ids.reshape(48, 64), 2 * DISC_HW)
    assert boxes[0]["Boxes2D:half_sizes"] == [[6.5, 6.5]]
    assert boxes[0]["Boxes2D:centers"] == [[20.5, 20.5]]
    assert boxes[0]["Boxes2D:labels"] == ["2 cup 0.75"]
    assert boxes[0]["frame"] == masks[0]["frame"] == pictures[0]["frame"]


def test_masks_of_a_smaller_picture_cover_all_that_they_touch() -> None:
    one_hw = np.zeros((48, 64), np.bool_)
    one_hw[21, 33] = True
    got = result(1, (found(3, one_hw),))
    scene = Scene(picture(got, GRADIENT[::2, ::2], scale=0.5), got)
    assert scene.size_wh == (32, 24)
    assert np.argwhere(scene.mask(3)).tolist() == [[10, 16]]
    assert scene.box(scene.shown[0]) == (16.5, 10.5, 17.0, 11.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["cam1"], "one of the arguments --foxglove --rerun is required"),
        (["cam1", "--rerun", "x.rrd", "--port", "1"], "--port is for --foxglove; leave it out"),
        (["cam1", "--rerun", "x.mp4"], "--rerun x.mp4: not a name of Rerun; name it NAME.rrd"),
        (["cam1", "--foxglove", "--port", "70000"], "--port 70000: not from 0 to 65535"),
        (["dor", "--foxglove"], "there is no stream dor; there are cam1"),
    ],
)
def test_wrong_usage_is_one_line(
    argv: list[str], said: str, fake: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    for extra in ("foxglove", "rerun"):
        pytest.importorskip(extra, reason=f"the extra {extra} is not installed")
    assert main(["view", *argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"trackd: error: {said}")


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_one_line(
    fake: FakeDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rerun", reason="the extra rerun is not installed")
    assert main(["view", "cam1", "--rerun", str(tmp_path / "none" / "x.rrd")]) == 1
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "module"), [("--foxglove", "foxglove"), ("--rerun", "rerun")])
def test_a_missing_extra_is_named(
    option: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    assert main(["view", "cam1", option]) == 2
    assert f"pip install 'trackd[{module}]'" in capsys.readouterr().err
