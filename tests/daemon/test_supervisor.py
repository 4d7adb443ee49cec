"""One source and its supervisor: policies, pace, retries, hangs, and what is told of it all."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest

from streams import Source, SourceUnreadable, open_source
from tests.support.streams_clips import gray, write_clip, write_pattern
from tests.support.supervised import PATIENCE_S, QUICK, Watched, wait_until, watched
from tracker.daemon.config.schema import RetryConfig
from tracker.daemon.sources.backoff import Backoff
from tracker.daemon.sources.pacer import Pacer
from tracker.daemon.tracking.frame_numbers import FrameNumbers
from tracker.exhausted import ExhaustedError
from tracker.protocol.data import EventName
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import StreamState

SECRET = "hunter2"
ENDLESS = "lavfi:testsrc2=size=64x48:rate=25"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """12 frames at 25 a second."""
    return write_pattern(tmp_path / "clip.mp4", frames=12, size="64x48")


def test_a_file_gives_every_frame_to_a_slow_tracker_and_ends(clip: Path) -> None:
    with watched(str(clip)) as cam:
        wait_until(lambda: len(cam.supervisor.mailbox) == 4, "a full mailbox")
        taken = cam.take(12)
        cam.wait_for(StreamState.ENDED)
        status = cam.supervisor.status()
    assert [live.frame.seq for live in taken] == list(range(12))
    assert {live.frame.stream for live in taken} == {"cam1"}
    assert (status.policy, status.frames, status.dropped) == ("every", 12, 0)
    assert status.reconnects == status.corrupt_packets == status.abandoned_threads == 0
    assert status.decode_s >= sum(live.decode_s for live in taken) > 0
    for live in taken:
        assert live.sender_ns is None
        assert live.arrived_s <= live.queued_s
    assert cam.names == [
        EventName.STREAM_CONNECTING,
        EventName.STREAM_RUNNING,
        EventName.STREAM_ENDED,
    ]
    assert [event.frame_seq for event in cam.events] == [None, None, 11]
    assert cam.events[1].text == "64x48 at 25 fps, policy every"


def test_only_the_newest_frame_waits_where_stale_ones_are_dropped(clip: Path) -> None:
    with watched(str(clip), policy="latest") as cam:
        cam.wait_for(StreamState.ENDED)
        kept = cam.take_rest()
        status = cam.supervisor.status()
    assert [live.frame.seq for live in kept] == [11]
    assert (status.policy, status.frames, status.dropped) == ("latest", 12, 11)


def test_numbers_start_where_they_are_told_to(clip: Path) -> None:
    with watched(str(clip), options={"numbers": FrameNumbers(first=700)}) as cam:
        assert [live.frame.seq for live in cam.take(2)] == [700, 701]


def test_a_loop_begins_again_and_numbers_go_on(clip: Path) -> None:
    with watched(str(clip), loop=True) as cam:
        taken = cam.take(30)
        status = cam.supervisor.status()
    assert [live.frame.seq for live in taken] == list(range(30))
    assert [live.frame.pts for live in taken[:12]] == [live.frame.pts for live in taken[12:24]]
    assert (status.state, status.reconnects) == (StreamState.RUNNING, 0)
    assert cam.names == [EventName.STREAM_CONNECTING, EventName.STREAM_RUNNING]


@pytest.mark.slow
def test_a_file_at_its_own_pace_is_as_a_camera(clip: Path) -> None:
    with watched(str(clip), realtime=True, loop=True) as cam:
        taken = cam.take(1)
        while taken[-1].frame.seq < 25:
            taken += cam.take(1)
        status = cam.supervisor.status()
    assert status.policy == "latest"
    played_s = taken[-1].queued_s - taken[0].queued_s
    assert played_s > 0.5  # 25 steps of 0.04 s; all at once without a pace


def test_a_missing_file_fails_for_good_until_it_is_asked_for_again(
    clip: Path, tmp_path: Path
) -> None:
    later = tmp_path / "later.mp4"
    with watched(str(later)) as cam:
        cam.wait_for(StreamState.FAILED)
        assert cam.supervisor.status().error == f"no such file: {later}; check the path"
        assert cam.names == [EventName.STREAM_CONNECTING, EventName.STREAM_FAILED]
        clip.rename(later)
        cam.supervisor.resume()
        assert len(cam.take(12)) == 12
        cam.wait_for(StreamState.ENDED)
        assert cam.supervisor.status().error == ""


@pytest.mark.slow
def test_a_file_that_vanishes_while_it_is_looped_fails_for_good(clip: Path) -> None:
    with watched(str(clip), loop=True) as cam:
        cam.take(13)
        clip.unlink()
        while cam.supervisor.status().state is StreamState.RUNNING:
            cam.take_rest()
        status = cam.supervisor.status()
    assert status.state is StreamState.FAILED
    assert "no such file" in status.error


def test_an_address_that_is_wrong_fails_for_good() -> None:
    with watched(f"ftp://me:{SECRET}@host/clip.mp4") as cam:
        cam.wait_for(StreamState.FAILED)
        status = cam.supervisor.status()
    assert "unknown kind of source ftp://" in status.error
    assert SECRET not in repr((status, cam.events))


class Failing:
    """Opens a source after `failures` errors."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.asked = 0
        self._failures = failures
        self._error = error

    def __call__(self, url: str, **options: Any) -> Source:
        self.asked += 1
        if self.asked <= self._failures:
            raise self._error
        return open_source(url, **options)


def test_what_fails_is_tried_until_it_works_and_the_same_failure_is_told_once() -> None:
    failing = Failing(3, SourceUnreadable("connection refused: there", "check the host"))
    with watched(ENDLESS, options={"open_source": failing}) as cam:
        cam.take(1)
        status = cam.supervisor.status()
    assert failing.asked == 4
    assert (status.state, status.error) == (StreamState.RUNNING, "")
    assert status.reconnects == 0  # it had never run before
    assert cam.names == [
        EventName.STREAM_CONNECTING,
        EventName.STREAM_RETRYING,
        EventName.STREAM_RUNNING,
    ]
    assert cam.events[1].text == "connection refused: there; check the host"


def test_an_unexpected_error_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    url = f"rtsp://me:{SECRET}@127.0.0.1:1/live"
    failing = Failing(10**6, RuntimeError(f"a fault in {url}\nand another line"))
    with watched(url, options={"open_source": failing}) as cam:
        cam.wait_for(StreamState.RETRYING)
        wait_until(lambda: failing.asked >= 3, "further attempts")
        status = cam.supervisor.status()
    assert status.error == (
        "internal error while reading rtsp://***@127.0.0.1:1/live: RuntimeError; see the log"
    )
    assert "a fault in rtsp://***@127.0.0.1:1/live" in caplog.text
    assert "Traceback" in caplog.text
    assert SECRET not in caplog.text + repr((status, cam.events))


def test_a_source_that_meets_a_limit_says_so_and_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = Failing(10**6, MemoryError())
    with watched("there", options={"open_source": failing}) as cam:
        cam.wait_for(StreamState.RETRYING)
        wait_until(lambda: failing.asked >= 2, "another attempt")
        status = cam.supervisor.status()
    assert "no more memory" in status.error and "smaller frames" in status.error
    assert "Traceback" not in caplog.text


def test_a_source_whose_frames_cannot_be_tracked_fails_until_it_is_resumed() -> None:
    with watched(ENDLESS) as cam:
        cam.take(1)
        cam.supervisor.fail(ExhaustedError("no memory", "take smaller frames"))
        cam.wait_for(StreamState.FAILED)
        assert cam.supervisor.status().error == "no memory; take smaller frames"
        wait_until(lambda: not readers(), "no reader")
        cam.take_rest()
        cam.supervisor.resume()
        cam.take(1)


def test_a_paused_stream_is_closed_and_goes_on_with_its_numbers() -> None:
    with watched(ENDLESS) as cam:
        cam.take(3)
        wait_until(lambda: len(cam.supervisor.mailbox) == 4, "a reader that waits for room")
        cam.supervisor.pause()
        assert cam.supervisor.status().state is StreamState.PAUSED
        wait_until(lambda: not readers(), "no reader")
        last_seq = cam.take_rest()[-1].frame.seq
        cam.supervisor.pause()  # does nothing
        cam.supervisor.resume()
        again = cam.take(1)[0].frame
        cam.supervisor.resume()  # does nothing
    assert again.seq > last_seq
    assert again.pts == 0
    assert cam.names == [
        EventName.STREAM_CONNECTING,
        EventName.STREAM_RUNNING,
        EventName.STREAM_PAUSED,
        EventName.STREAM_CONNECTING,
        EventName.STREAM_RUNNING,
    ]
    assert cam.supervisor.status().reconnects == 0


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "read-cam1"]


def test_a_stream_that_begins_paused_opens_nothing_before_it_is_resumed(clip: Path) -> None:
    cam = Watched(StreamSettings(url=str(clip)), QUICK)
    cam.supervisor.pause()
    assert cam.supervisor.status().state is StreamState.PAUSED
    assert not readers()
    cam.supervisor.resume()
    assert len(cam.take(12)) == 12
    assert cam.supervisor.stop(PATIENCE_S)


def test_a_long_wait_ends_when_the_stream_is_paused_resumed_or_stopped() -> None:
    failing = Failing(10**6, SourceUnreadable("connection refused: there"))
    slow = RetryConfig(first_s=3600, longest_s=3600)
    with watched(ENDLESS, slow, options={"open_source": failing}) as cam:
        cam.wait_for(StreamState.RETRYING)
        cam.supervisor.resume()
        wait_until(lambda: failing.asked == 2, "an attempt at once")
        cam.wait_for(StreamState.RETRYING)
        cam.supervisor.pause()
        assert cam.supervisor.status().error == ""
        cam.supervisor.resume()
        wait_until(lambda: failing.asked == 3, "an attempt after the pause")
        cam.wait_for(StreamState.RETRYING)


@contextmanager
def hanging(tmp_path: Path) -> Iterator[Watched]:
    """A supervisor on a pipe that nobody writes to: FFmpeg waits for it in the system for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cam = Watched(
        StreamSettings(url=str(pipe), open_timeout_s=0.02, stall_timeout_s=0.02),
        QUICK,
        hang_margin_s=0.1,
    )
    cam.supervisor.start()
    try:
        yield cam
    finally:
        os.close(os.open(pipe, os.O_RDWR))  # a writer comes and goes: all who wait go on
        wait_until(lambda: not readers(), "all readers back")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_readers_that_hang_in_ffmpeg_are_left_behind_but_not_without_end(tmp_path: Path) -> None:
    with hanging(tmp_path) as cam:
        cam.wait_for(StreamState.FAILED)
        status = cam.supervisor.status()
        assert len(readers()) == status.abandoned_threads == 3
        assert "3 threads hang while they read" in status.error
        retrying = cam.events[cam.names.index(EventName.STREAM_RETRYING)]
        assert "its reader hangs and was left behind" in retrying.text
        assert not cam.supervisor.stop(0.05)
        assert cam.supervisor.hanging_threads() == 3
    assert cam.supervisor.hanging_threads() == 0
    assert cam.supervisor.status().abandoned_threads == 3, "a counter only grows"
    assert cam.supervisor.stop(PATIENCE_S)
    assert cam.supervisor.status().frames == 0


def test_waits_double_to_the_longest_are_spread_and_begin_anew_after_a_healthy_run() -> None:
    config = RetryConfig(first_s=1, longest_s=30, permanent_s=300, healthy_s=60)
    backoff = Backoff(config, random=lambda: 0.5)
    assert [backoff.failed(0.0) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert backoff.failed(59.0) == 30
    assert backoff.failed(60.0) == 1
    assert backoff.failed_for_good() == 300
    assert backoff.failed(0.0) == 2
    backoff.reset()
    assert backoff.failed(0.0) == 1
    for _ in range(2000):
        assert backoff.failed(0.0) <= 30
    assert Backoff(config, random=lambda: 0.0).failed(0.0) == 0.75
    assert Backoff(config, random=lambda: 1.0).failed(0.0) == 1.25


def test_a_pace_follows_the_times_of_the_file_however_late_it_is_asked() -> None:
    pacer = Pacer(fps=10)
    asked = [(0.0, 100.0), (0.5, 107.0), (0.6, 107.1), (10.6, 107.2)]
    assert [pacer.due_s(*times) for times in asked] == pytest.approx([100, 100.5, 100.6, 110.6])


def test_a_pace_takes_the_usual_step_where_times_are_missing_or_jump() -> None:
    pacer = Pacer(fps=10)
    times = [None, 5.0, 5.2, 0.0, 0.1, 9999.0, None]
    steps = pytest.approx([0, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert [pacer.due_s(time_s, 0.0) for time_s in times] == steps


@pytest.mark.slow
def test_frames_that_come_faster_than_the_deadline_are_skipped_and_counted(
    tmp_path: Path,
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [gray(level) for level in range(0, 200, 10)])
    deadline = {"fps": 0.001}
    with watched(str(clip), realtime=True, deadline=deadline) as cam:
        cam.wait_for(StreamState.ENDED)
        assert [live.frame.seq for live in cam.take_rest()] == [0]
        status = cam.supervisor.status()
        assert (status.policy, status.frames, status.dropped) == ("latest", 20, 19)


def test_a_folder_of_images_has_no_times_and_is_played_all_the_same(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [gray(level) for level in (40, 80, 120)])
    with open_source(str(clip)) as source:
        frames = list(source)
    for frame in frames:
        cv2.imwrite(str(tmp_path / f"{frame.seq}.png"), frame.image)
    with watched(str(tmp_path), realtime=True, policy="every") as cam:
        assert [live.frame.seq for live in cam.take(3)] == [0, 1, 2]
        cam.wait_for(StreamState.ENDED)
    assert cam.events[1].text == "64x48, policy every"


def test_settings_with_a_password_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with watched(f"rtsp://me:{SECRET}@127.0.0.1:1/live?token={SECRET}") as cam:
        cam.wait_for(StreamState.RETRYING)
        status = cam.supervisor.status()
    assert "connection refused" in status.error
    assert status.url == "rtsp://***@127.0.0.1:1/live?***"
    assert SECRET not in caplog.text + repr((status, cam.events))
