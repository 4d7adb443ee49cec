"""Recordings of a whole daemon: what is left when it is killed, and what is sent again."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.mask import decode

from tests.support.recordings import numbers_in, reordered_clip
from tests.support.small_pico import small_pico_of
from tests.support.supervised import wait_until
from tests.support.warm_python import python
from tools.serving import Daemon, free_ports
from tracker.cli.main import main
from tracker.protocol.data import MasksMessage
from tracker.replay.recording import open_recordings, segment_messages

pytestmark = pytest.mark.system
BOX = (210, 105, 290, 185)  # around the disc on the first frames


def subscriber(context: "zmq.Context[zmq.Socket[bytes]]", address: str) -> "zmq.Socket[bytes]":
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    socket.rcvhwm = 100_000
    socket.connect(address)
    socket.subscribe("masks.")
    socket.subscribe("events.")
    return socket


def received(socket: "zmq.Socket[bytes]") -> list[list[bytes]]:
    """All that came and is no repeat."""
    found = []
    while socket.poll(1000):
        parts = socket.recv_multipart()
        if b'"repeated":true' not in parts[1][:200]:
            found.append(parts)
    return found


def replayed(folder: Path, stored: list[list[bytes]]) -> list[list[bytes]]:
    """What a subscriber has of a replay in another process."""
    address = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    command = [*python(), "-m", "tracker.cli.main", "replay", str(folder), "--speed", "0"]
    with (
        zmq.Context() as context,
        subscriber(context, address) as socket,
        subprocess.Popen([*command, "--bind", address]) as process,
    ):
        socket.rcvtimeo = 120_000
        found = [socket.recv_multipart() for _ in stored]
        assert process.wait(60) == 0
        return found + received(socket)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reordered_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 100)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_after_kill_9_every_file_opens(
    clip: Path, tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"dir": str(tmp_path / "recorded"), "segment_s": 1}
    model = small_pico_of(tmp_path)
    with (
        zmq.Context() as context,
        Daemon(tmp_path / "daemon", {"model": model, "workers": workers}) as daemon,
        daemon.client() as client,
        subscriber(context, daemon.config["data"]["bind"]) as socket,
    ):
        client.add_stream("cam", str(clip), realtime=True, loop=True, record=record)
        client.prompt("cam", box=BOX, wait_s=60)

        def enough() -> bool:
            info = client.streams()[0].recording
            return info is not None and info.segments >= 4 and info.bytes > 0

        wait_until(enough, "four segments")
        daemon.kill()
        sent = received(socket)
    (recording,) = open_recordings(tmp_path / "recorded")
    assert recording.stream == "cam" and len(recording.segments) >= 3
    whole = recording.segments[:-1]  # the newest may have just one of its files yet
    assert all(one.video is not None and one.messages is not None for one in whole)
    videos = [one.video for one in recording.segments if one.video is not None]
    numbers = [number for video in videos for number in numbers_in(video)]
    # Of a clip in a loop; where it is cut, pictures that wait for another are lost.
    assert {(after - before) % 100 for before, after in pairwise(numbers)} <= {1, 2, 3}
    stored = [
        [message.topic.encode(), *message.parts]
        for segment in recording.segments
        for message in segment_messages(segment)
        if not message.topic.startswith("recorder/")
    ]
    assert len(stored) > 5
    first = stored.index(next(parts for parts in sent if parts in stored))
    kept = stored[first:]
    assert sent[sent.index(kept[0]) :][: len(kept)] == kept
    assert replayed(tmp_path / "recorded", stored) == stored
    masks = [parts[1] for parts in kept if parts[0] == b"masks.cam"]
    assert any(MasksMessage.model_validate_json(text).objects for text in masks)
    recorded = [parts[1] for parts in stored if parts[0] == b"masks.cam"]
    check_export(tmp_path / "recorded", tmp_path / "masks.json", recorded)
    for path in recording.segments[0].files:  # where the prompt is
        path.unlink()
    capsys.readouterr()
    assert main(["replay", str(tmp_path / "recorded"), "--recompute", "--json"]) == 0
    (again,) = json.loads(capsys.readouterr().out)
    assert again["from_snapshot"] is not None
    assert again["frames"] == again["same_bytes"] > 0 == again["restored"]


def check_export(folder: Path, path: Path, sent: list[bytes]) -> None:
    """Find the masks of an export among those that were sent, in order, as pycocotools has both."""
    assert main(["export", str(folder), "--coco-frames", str(path), "--quiet"]) == 0
    coco = COCO(str(path))
    left = (json.loads(text)["objects"] for text in sent)
    masks = 0
    for image_id in sorted(coco.imgs):
        anns = coco.loadAnns(coco.getAnnIds(image_id))
        found = {one["track_id"]: coco.annToMask(one) for one in anns}
        assert any(same(found, objects) for objects in left)
        masks += len(found)
    assert masks


def same(found: dict[int, NDArray[np.uint8]], objects: list[dict[str, Any]]) -> bool:
    sent = {one["id"]: decode(one["mask"]) for one in objects if one["mask"]}
    return found.keys() == sent.keys() and all(np.array_equal(found[i], sent[i]) for i in found)
