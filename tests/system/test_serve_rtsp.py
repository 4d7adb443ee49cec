"""The daemon beside a real camera: GStreamer's RTSP server, which plays a real clip."""

import json
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streams.sources.registry import open_source
from streams.video_writer import VideoWriter
from tests.support.rtsp import RtspCamera
from tests.support.small_pico import small_pico_of
from tools.serving import Daemon, run_trackd
from tracker.client import Client, Result
from tracker.protocol.replies import StreamState
from tracker.rle import Rle, decode_rle

# The rabbit, in a clip that is half as large as the original: less to decode beside the tracker.
SCALE = 0.5
BOX = tuple(SCALE * edge for edge in (345, 80, 590, 600))
PROMPTED, FRAMES = 55, 77


@pytest.fixture(scope="module")
def clip(bunny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the clip with the rabbit, H.264 in MP4, five frames a second."""
    path = tmp_path_factory.mktemp("camera") / "rabbit.mp4"
    with (
        open_source(str(bunny_clip)) as source,
        VideoWriter(path, width=640, height=360, fps=Fraction(5)) as writer,
    ):
        for frame in source:
            if frame.seq >= PROMPTED:
                small = cv2.resize(frame.image, (640, 360), interpolation=cv2.INTER_AREA)
                index = frame.seq - PROMPTED
                writer.write(np.asarray(small, np.uint8), index, Fraction(1, 5))
    return path


@pytest.fixture
def camera(clip: Path) -> Iterator[RtspCamera]:
    with RtspCamera(clip) as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return small_pico_of(tmp_path_factory.mktemp("model"), 256)


@pytest.fixture
def daemon(tmp_path: Path, model: dict[str, str]) -> Iterator[Daemon]:
    with Daemon(tmp_path / "daemon", {"model": model}) as running:
        yield running


def wait_for(found: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.1)


def receive(client: Client, wanted: Callable[[Result], bool]) -> Result:
    with client.results("camera") as results:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            result = results.receive(10)
            if result is not None and wanted(result):
                return result
    raise AssertionError("no such result came")


def tracked_in_a_file(
    clip: Path, first: int, folder: Path, checkpoint: str
) -> dict[int, NDArray[np.bool_]]:
    """Masks by `trackd track` from a prompt on frame `first` of the clip, by frame."""
    out = folder / "masks.json"
    box = ",".join(f"{edge:g}" for edge in BOX)
    # As the camera's client does, the daemon decodes the same bytes: the frames are the same.
    prompt = ("--box", f"1:{box}", "--start", str(first))
    run = run_trackd("track", str(clip), *prompt, "--coco", str(out), "--checkpoint", checkpoint)
    assert run.returncode == 0, run.stderr
    segmentations = json.loads(out.read_text())["annotations"][0]["segmentations"]
    return {
        first + index: decode_rle(Rle(*rle["size"], rle["counts"]))
        for index, rle in enumerate(segmentations)
        if rle is not None
    }


def test_a_camera_gives_the_masks_of_the_same_frames_in_a_file(
    daemon: Daemon, camera: RtspCamera, clip: Path, tmp_path: Path, model: dict[str, str]
) -> None:
    """The stream starts with the clip's first frame, so `frame.seq` is the frame in the file."""
    with daemon.client() as client, client.results("camera") as results:
        # At five frames a second none has to be dropped, and "every" makes sure.
        client.add_stream("camera", camera.url, policy="every")
        seen = results.receive(60)
        assert seen is not None
        first = seen.message.frame.seq
        prompted = client.prompt("camera", box=BOX, frame=first)
        assert prompted.frame_seq == first
        received: dict[int, NDArray[np.bool_]] = {}
        while len(received) < 20:
            result = results.receive(60)
            assert result is not None
            if result.objects and result.message.frame.seq < FRAMES:
                received[result.message.frame.seq] = result.mask(prompted.object.id)
    expected = tracked_in_a_file(clip, first, tmp_path, model["checkpoint"])
    overlaps = {
        seq: (mask & expected[seq]).sum() / (mask | expected[seq]).sum()
        for seq, mask in received.items()
    }
    print(f"IoU with trackd track on {len(overlaps)} frames: lowest {min(overlaps.values()):.4f}")
    assert min(overlaps.values()) >= 0.95


def test_objects_outlive_a_camera_that_goes_and_comes_back(
    daemon: Daemon, camera: RtspCamera
) -> None:
    with daemon.client() as client:
        client.add_stream("camera", camera.url, stall_timeout_s=5.0)
        receive(client, lambda result: True)
        object_id = client.prompt("camera", box=BOX, label="rabbit").object.id
        receive(client, lambda result: bool(result.objects))
        camera.kill()
        killed_s = time.monotonic()
        wait_for(lambda: client.streams()[0].state is StreamState.RETRYING, "the loss")
        camera.start()
        wait_for(lambda: client.streams()[0].reconnects == 1, "the camera again")
        waited = receive(client, lambda result: True)  # it may be of before
        after = receive(client, lambda r: r.message.frame.seq > waited.message.frame.seq + 5)
        print(f"masks again {time.monotonic() - killed_s:.1f} s after the camera's end")
        (info,) = client.streams()
        assert (info.state, info.reconnects) == (StreamState.RUNNING, 1)
        assert [(obj.id, obj.label) for obj in after.objects] == [(object_id, "rabbit")]
