"""`trackd restream` to real servers and readers: GStreamer's RTSP, FFmpeg's RTMP, HLS, a pipe."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support.bridges import PATIENCE_S, ROOT, Program, sending, trackd
from tests.support.fake_daemon import FakeDaemon, daemon
from tests.support.tracked_frames import found, tracked
from tests.support.warm_python import python
from tools import rtsp_camera
from tools.serving import free_ports
from tracker.cli.main import main
from tracker.daemon.messages import Tracked
from tracker.types import ObjectState

HEIGHT, WIDTH, SIDE = 96, 128, 24
CHECKS_HW = (np.indices((SIDE, SIDE)).sum(axis=0) // 2 % 2 * 255).astype(np.uint8)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    with daemon() as fake:
        monkeypatch.setenv("TRACKD_CONTROL", fake.control)
        monkeypatch.setenv("TRACKD_DATA", fake.data)
        yield fake


def frame(seq: int) -> Tracked:
    """A checked square that jumps with each frame, on grey; its mask is the square's.

    On every fourth frame the tracker has lost it, and has no mask.
    """
    x, y = 8 + 37 * seq % 88, 8 + 23 * seq % 56
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[y : y + SIDE, x : x + SIDE] = CHECKS_HW[..., None]
    mask_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
    lost = seq % 4 == 3
    if not lost:
        mask_hw[y : y + SIDE, x : x + SIDE] = True
    state = ObjectState.LOST if lost else ObjectState.VISIBLE
    return tracked(seq, (found(1, mask_hw, label="face", state=state),), image=image)


def checks_left(path: Path) -> list[float]:
    """Largest step between neighbours of each picture of a video; of the checks it is about 255."""
    with av.open(str(path)) as container:
        greys = [one.to_ndarray(format="gray").astype(int) for one in container.decode(video=0)]
    return [float(np.abs(np.diff(grey_hw, axis=1)).max()) for grey_hw in greys]


def probed(path: Path | str, *, data: bytes | None = None) -> dict[str, Any]:
    """What ffprobe says of a video and its packets."""
    if shutil.which("ffprobe") is None:
        pytest.skip("no ffprobe")
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_packets", str(path)]
    done = subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE_S, check=True)
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def check_times(read: dict[str, Any]) -> None:
    """Times grow by the steps of the source, 3000 of 90000; frames that were skipped leave gaps."""
    times = [round(float(packet["pts_time"]) * 30, 1) for packet in read["packets"]]
    steps = np.diff(times)
    assert steps.min() >= 0.9
    assert np.abs(steps - np.round(steps)).max() < 0.11


@pytest.mark.slow
def test_hls_hides_what_is_named_on_every_picture(fake: FakeDaemon, tmp_path: Path) -> None:
    playlist = tmp_path / "door.m3u8"
    with (
        sending(fake, frame),
        trackd(fake, "restream", "cam1", "--to", str(playlist), "--hide", "face") as restream,
    ):
        restream.line("sending to")
        deadline_s = time.monotonic() + PATIENCE_S
        while not (tmp_path / "door1.ts").exists():
            assert time.monotonic() < deadline_s, restream.all_lines
            time.sleep(0.05)
        assert restream.end() == 0
        sent = int(restream.line("sent").split()[2])
    assert playlist.read_text().endswith("#EXT-X-ENDLIST\n")
    read = probed(playlist)
    (video,) = read["streams"]
    assert (video["codec_name"], video["width"], video["height"]) == ("h264", WIDTH, HEIGHT)
    assert len(read["packets"]) == sent
    check_times(read)
    left = checks_left(playlist)
    assert len(left) > 20
    assert max(left) < 100


@pytest.mark.slow
def test_without_hiding_the_same_pictures_show_the_checks(fake: FakeDaemon, tmp_path: Path) -> None:
    """What the test above measures is there to be measured; and the masks are drawn by default."""
    path = tmp_path / "out.ts"
    door = {"TRACKD_CONTROL": fake.control, "TRACKD_DATA": fake.data, "PYTHONPATH": str(ROOT)}
    command = [*python(), "-m", "tracker.cli.main", "restream", "cam1", "--to", "-"]
    with sending(fake, frame), path.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--effect", "spotlight"], stdout=out, env=os.environ | door
        )
        try:
            deadline_s = time.monotonic() + PATIENCE_S
            while path.stat().st_size < 40_000:
                assert time.monotonic() < deadline_s
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
    check_times(probed(path))
    left = checks_left(path)
    assert sorted(left)[len(left) // 2] > 150


@pytest.mark.slow
def test_an_rtsp_server_that_goes_away_is_connected_to_again(
    fake: FakeDaemon, tmp_path: Path
) -> None:
    if not rtsp_camera.has_gstreamer():
        pytest.skip("no GStreamer RTSP server")

    def server(port: str, name: str) -> Program:
        script = "tests/support/rtsp_record.py"
        return Program(script, port, str(tmp_path / name), python=["/usr/bin/python3"])

    with sending(fake, frame), server("0", "first.h264") as first:
        port = first.line("port").split()[1]
        address = tmp_path / "door.url"
        address.write_text(f"rtsp://me:secret@127.0.0.1:{port}/door\n")
        address.chmod(0o600)
        with trackd(fake, "restream", "cam1", "--to-file", str(address)) as restream:
            times_s = [float(first.line("frame").split()[1]) for _ in range(20)]
            first.process.kill()
            first.wait()
            assert f"lost rtsp://127.0.0.1:{port}/***" in restream.line("lost")
            with server(port, "second.h264") as second:
                second.line("port")
                for _ in range(10):
                    second.line("frame")
                assert restream.end() == 0
            summary = restream.line("sent")
    assert np.diff(times_s).min() > 0
    assert summary.endswith("1 reconnects")
    assert not any("secret" in line for line in restream.all_lines)
    with av.open(str(tmp_path / "second.h264")) as container:
        size = container.streams.video[0].width, container.streams.video[0].height
        assert size == (WIDTH, HEIGHT)
        assert next(container.decode(video=0)).key_frame


@pytest.mark.slow
def test_rtmp_is_taken_by_another_program(fake: FakeDaemon, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    (port,) = free_ports(1)
    url, path = f"rtmp://127.0.0.1:{port}/live/key", tmp_path / "got.flv"
    listen = ["-listen", "1", "-probesize", "2000", "-analyzeduration", "0", "-f", "flv", "-i", url]
    command = ["ffmpeg", "-v", "error", *listen, "-c", "copy", "-flush_packets", "1", str(path)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as server:
        try:
            wait_for_port(port)
            with sending(fake, frame), trackd(fake, "restream", "cam1", "--to", url) as restream:
                restream.line("sending to")
                deadline_s = time.monotonic() + PATIENCE_S
                while not path.exists() or path.stat().st_size < 20_000:
                    assert time.monotonic() < deadline_s, restream.all_lines
                    time.sleep(0.05)
                assert restream.end() == 0
            server.wait(PATIENCE_S)
        finally:
            server.kill()
    read = probed(path)
    assert read["streams"][0]["codec_name"] == "h264"
    check_times(read)


def wait_for_port(port: int) -> None:
    """Wait until something listens, without connecting: it takes one connection only."""
    wanted = f":{port:04X}"
    deadline_s = time.monotonic() + PATIENCE_S
    while not any(
        fields[1].endswith(wanted) and fields[3] == "0A"
        for fields in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    ):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.mark.slow
def test_a_server_that_is_not_there_is_one_line(fake: FakeDaemon) -> None:
    (port,) = free_ports(1)
    with sending(fake, frame):
        to = f"rtmp://me:secret@127.0.0.1:{port}/live/key"
        with trackd(fake, "restream", "cam1", "--to", to) as restream:
            assert restream.wait() == 1
    (line,) = restream.all_lines
    assert line == (
        f"trackd: error: cannot send to rtmp://127.0.0.1:{port}/***: Connection refused; "
        "check that it is there and takes a publisher"
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["dor", "--to", "rtsp://h/x"], "there is no stream dor; there are cam1"),
        (["cam1"], "one of the arguments --to --to-file is required"),
        (["cam1", "--to", "srt://h:1"], "--to srt: the FFmpeg of PyAV has no SRT; pipe it"),
        (["cam1", "--to", "rtsp://h/x", "--bitrate", "fast"], "--bitrate fast: not from 50k"),
        (["cam1", "--to", "rtsp://h/x", "--bitrate", "10k"], "--bitrate 10k: not from 50k"),
        (
            ["cam1", "--to", "rtsp://h/x", "--effect", "blur"],
            "--effect blur shows what the tracker",
        ),
        (["cam1", "--to", "rtsp://h/x", "--effect", "cutout"], "--effect cutout: H.264 has no"),
        (["cam1", "--to", "rtsp://h/x", "--hide", " ,"], "--hide names nothing"),
        (["cam1", "--to", "rtsp://h/x", "--show-unsure"], "--show-unsure is for --hide"),
    ],
)
def test_wrong_usage_is_one_line(
    argv: list[str], said: str, fake: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["restream", *argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"trackd: error: {said}")
