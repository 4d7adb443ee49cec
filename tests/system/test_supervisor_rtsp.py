"""A supervisor beside a real camera: GStreamer's RTSP server in a process of its own."""

import logging
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.support.rtsp import RtspCamera
from tests.support.streams_clips import gray, write_clip, write_pattern
from tests.support.supervised import watched
from tracker.protocol.data import EventName
from tracker.protocol.replies import StreamState

SECRET = "hunter2"


def test_a_camera_that_breaks_off_and_comes_back_goes_on(bunny_clip: Path) -> None:
    with RtspCamera(bunny_clip) as camera, watched(camera.url) as cam:
        before = cam.take(5)
        assert before[0].frame.image.shape == (720, 1280, 3)
        status = cam.supervisor.status()
        assert (status.state, status.policy, status.error) == (StreamState.RUNNING, "latest", "")
        assert status.url == camera.url

        camera.kill()
        cam.wait_for(StreamState.RETRYING)
        assert cam.supervisor.status().error
        cam.take_rest()
        decoded_before = cam.supervisor.status().frames

        camera.start()
        cam.wait_for(StreamState.RUNNING)
        after = cam.take(5)
        status = cam.supervisor.status()
    assert after[0].frame.seq >= decoded_before
    seqs = [live.frame.seq for live in before + after]
    assert seqs == sorted(set(seqs))
    assert (status.reconnects, status.error) == (1, "")
    assert cam.names[:2] == [EventName.STREAM_CONNECTING, EventName.STREAM_RUNNING]
    assert EventName.STREAM_RETRYING in cam.names
    assert cam.names[-1] is EventName.STREAM_RUNNING
    assert cam.names.count(EventName.STREAM_RUNNING) == 2


def test_frames_that_a_slow_tracker_does_not_take_are_dropped_and_counted(tmp_path: Path) -> None:
    clip = write_pattern(tmp_path / "clip.mp4", frames=25)
    with RtspCamera(clip) as camera, watched(camera.url) as cam:
        taken = []
        while cam.supervisor.status().frames < 40:
            taken += cam.take(1)
            time.sleep(0.2)  # the tracker is busy
        taken += cam.take(1)
        camera.kill()
        cam.wait_for(StreamState.RETRYING)
        rest = cam.take_rest()
        status = cam.supervisor.status()
    assert len(taken) + len(rest) + status.dropped == status.frames
    gaps = [b.frame.seq - a.frame.seq - 1 for a, b in pairwise(taken)]
    assert max(gaps) > 1


def test_a_wrong_password_is_final_and_nothing_tells_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    clip = write_clip(tmp_path / "clip.mp4", [gray(90)] * 5)
    with RtspCamera(clip, user="me", password="right") as camera:
        url = camera.url.replace("right", SECRET)
        with watched(url) as cam:
            cam.wait_for(StreamState.FAILED)
            status = cam.supervisor.status()
        with watched(camera.url) as cam_with_password:
            cam_with_password.take(1)
    assert status.error == f"access denied: {status.url}; check the user and the password"
    assert status.url == f"rtsp://***@127.0.0.1:{camera.port}/live"
    assert cam.names == [EventName.STREAM_CONNECTING, EventName.STREAM_FAILED]
    assert "failed" in caplog.text
    told = [repr(status), repr(cam.events), caplog.text, *capfd.readouterr()]
    assert SECRET not in "".join(told)


def test_a_wrong_path_is_final(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [gray(90)] * 5)
    with RtspCamera(clip) as camera, watched(camera.url + "/nothing") as cam:
        cam.wait_for(StreamState.FAILED)
        assert "the server has nothing at" in cam.supervisor.status().error


def test_a_camera_that_changes_its_size_goes_on(tmp_path: Path) -> None:
    small = write_clip(tmp_path / "small.mp4", [gray(60, width=64, height=48)] * 13)
    large = write_clip(tmp_path / "large.mp4", [gray(200, width=160, height=96)] * 13)
    with RtspCamera(small, large) as camera, watched(camera.url, policy="every") as cam:
        shapes: list[tuple[int, ...]] = []
        while len(shapes) < 3:
            live = cam.take(1)[0]
            image = live.frame.image
            if not shapes or shapes[-1] != image.shape:
                shapes.append(image.shape)
                expected = 60 if image.shape[0] == 48 else 200
                assert abs(float(np.mean(image)) - expected) < 5
        assert cam.supervisor.status().reconnects == 0
    assert shapes == [(48, 64, 3), (96, 160, 3), (48, 64, 3)]


def test_the_clock_of_the_camera_comes_with_its_frames(tmp_path: Path) -> None:
    clip = write_pattern(tmp_path / "clip.mp4", frames=25)
    with RtspCamera(clip) as camera, watched(camera.url, policy="every") as cam:
        while cam.take(1)[0].sender_ns is None:
            pass  # the camera has not told it yet
        told = [live for live in cam.take(20) if live.sender_ns is not None]
    assert len(told) >= 10  # those in between came before the camera told it
    for live in told:
        delay_s = (live.frame.captured_ns - (live.sender_ns or 0)) / 1e9
        assert -1 < delay_s < 5  # the same machine, so the same clock
    started_s = [(live.sender_ns or 0) / 1e9 - (live.frame.time_s or 0.0) for live in told]
    assert started_s == pytest.approx([started_s[0]] * len(told), abs=0.002)
