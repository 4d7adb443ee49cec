"""What over HTTP is a file that ends, and what is a camera: each is tracked as it should be."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest

from streams import SourceOptions, open_source
from tests.support.http_server import (
    Answer,
    Handler,
    chunked,
    ranged,
    serving,
    until_closed,
    with_length,
)
from tests.support.streams_clips import write_pattern
from tests.support.supervised import watched
from tracker.protocol.replies import StreamState

FRAMES = 60
WAYS: dict[str, Callable[[bytes], Answer]] = {
    "length": with_length,
    "ranges": ranged,
    "chunked": chunked,
    "until closed": until_closed,
}


ENDINGS = ("mp4", "mkv", "ts", "avi", "flv", "h264")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip in several containers."""
    folder = tmp_path_factory.mktemp("clips")
    for ending in ENDINGS:
        write_pattern(folder / f"clip.{ending}", frames=FRAMES)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_is_a_file_however_a_server_sends_it(clips: Path, ending: str, way: str) -> None:
    answer = WAYS[way]((clips / f"clip.{ending}").read_bytes())
    with serving({"/get": answer}) as server, open_source(f"{server.url}/get?id=7") as source:
        assert not source.info.live
        assert len(list(source)) == FRAMES


@pytest.mark.slow
@pytest.mark.parametrize("way", ["chunked", "until closed"])
@pytest.mark.parametrize("ending", ["mp4", "ts"])
def test_the_daemon_tracks_each_frame_of_it_once(clips: Path, ending: str, way: str) -> None:
    answer = WAYS[way]((clips / f"clip.{ending}").read_bytes())
    with serving({"/clip": answer}) as server, watched(f"{server.url}/clip") as cam:
        taken = cam.take(FRAMES)
        cam.wait_for(StreamState.ENDED)
        status = cam.supervisor.status()
        requests = len(server.requests)
    assert [live.frame.seq for live in taken] == list(range(FRAMES))
    assert (status.policy, status.dropped, status.reconnects, requests) == ("every", 0, 0, 1)


class Broadcast:
    """Sends MPEG-TS at about the pace at which it is to be shown, without telling its length."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.connections = 0

    def __call__(self, handler: Handler) -> None:
        self.connections += 1
        handler.begin("video/mp2t", Connection="close")
        step = max(1, len(self._data) // 100)
        while True:  # again and again, as if it never ended
            for start in range(0, len(self._data), step):
                handler.wfile.write(self._data[start : start + step])
                if handler.server.ending.wait(0.024):
                    return


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "live"), [(None, True), (True, True), (False, False)])
def test_a_broadcast_is_live_unless_told_otherwise(
    clips: Path, asked: bool | None, live: bool
) -> None:
    broadcast = Broadcast((clips / "clip.ts").read_bytes())
    options = SourceOptions(live=asked)
    with (
        serving({"/live": broadcast}) as server,
        open_source(f"{server.url}/live", options=options) as source,
    ):
        assert source.info.live is live
    assert broadcast.connections == 1


@pytest.mark.slow
def test_a_file_can_be_said_to_be_live(clips: Path) -> None:
    answers = {"/clip": with_length((clips / "clip.ts").read_bytes())}
    with (
        serving(answers) as server,
        open_source(f"{server.url}/clip", options=SourceOptions(live=True)) as source,
    ):
        assert source.info.live


@pytest.mark.slow
def test_raw_video_that_is_sent_live_has_the_times_of_its_arrival(clips: Path) -> None:
    """FFmpeg gives raw H.264 no times, or those of 25 frames a second."""
    data = (clips / "clip.h264").read_bytes()
    step = len(data) // 50
    sent = threading.Event()

    def slow(handler: Handler) -> None:
        handler.begin("video/h264", Connection="close")
        for start in range(0, len(data), step):
            handler.wfile.write(data[start : start + step])
            handler.server.ending.wait(0.1)
        sent.set()

    options = SourceOptions(analyzeduration=100_000)
    with (
        serving({"/raw": slow}) as server,
        open_source(f"{server.url}/raw", options=options) as source,
    ):
        frames = list(source)
        assert sent.is_set()
    times_s = [frame.time_s for frame in frames]
    assert source.info.live
    assert source.info.fps is None
    assert None not in times_s
    assert times_s == sorted(times_s, key=float)  # type: ignore[arg-type]
    # The last of at least 5 s; a second is looked at before the first frame is given.
    assert (times_s[-1] or 0) >= 3


@pytest.mark.slow
@pytest.mark.skipif(which("ffprobe") is None, reason="no ffprobe")
def test_the_clips_hold_what_they_should(clips: Path) -> None:
    for ending in ENDINGS:
        command = ["ffprobe", "-v", "error", "-count_frames", "-of", "csv=p=0"]
        command += ["-show_entries", "stream=nb_read_frames", str(clips / f"clip.{ending}")]
        counted = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert int(counted.split()[0].strip(",")) == FRAMES
