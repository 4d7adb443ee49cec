"""Live MPEG-TS over HTTP that changes while it is watched."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from streams import SourceTimeout, open_source
from tests.support.streams_clips import gray
from tests.support.supervised import watched
from tracker.protocol.data import EventName

_PIECE = 7 * 188  # bytes, as in most MPEG-TS over networks


class Broadcast(http.server.BaseHTTPRequestHandler):
    """Sends the next of the server's programmes to each client, the last one to all who follow."""

    server: "Broadcaster"

    def do_GET(self) -> None:
        programmes = self.server.programmes
        data = programmes.pop(0) if len(programmes) > 1 else programmes[0]
        self.send_response(200)
        self.end_headers()
        for start in range(0, len(data), _PIECE):
            self.wfile.write(data[start : start + _PIECE])
            if self.server.ending.wait(0.002):
                return

    def log_message(self, format: str, *args: object) -> None:
        pass


class Broadcaster(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, programmes: list[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Broadcast)
        self.programmes = programmes
        self.ending = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients leave when they like


@contextmanager
def broadcasting(*programmes: bytes) -> Iterator[str]:
    server = Broadcaster(list(programmes))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/live"
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()


def programme(
    path: Path, codec: str, frames: range, *, level: int, height: int = 48, sound_s: int = 0
) -> bytes:
    """Return MPEG-TS of gray pictures at 25 a second, and of noise."""
    with av.open(str(path), "w", format="mpegts") as container:
        video = container.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 64, height, "yuv420p"
        audio = container.add_stream("mp2", rate=48000) if sound_s else None
        for index in frames:
            picture = av.VideoFrame.from_ndarray(gray(level, height=height), format="rgb24")
            picture.pts = index
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if audio is not None:
            noise = np.random.default_rng(0).integers(-9999, 9999, (1, 96000), np.int16)
            for second in range(sound_s):
                sound = av.AudioFrame.from_ndarray(noise, format="s16", layout="stereo")
                sound.rate, sound.pts = 48000, second * 48000
                container.mux(audio.encode(sound))
    return path.read_bytes()


@pytest.mark.slow
def test_pictures_that_stop_while_the_sound_goes_on_time_out(tmp_path: Path) -> None:
    data = programme(tmp_path / "a.ts", "libx264", range(50), level=90, sound_s=300)
    with (
        broadcasting(data) as url,
        open_source(url, read_timeout_s=0.5) as source,
        pytest.raises(SourceTimeout, match=r"no picture from .* in 0\.5 s"),
    ):
        assert source.info.live
        for _ in source:
            pass


@pytest.mark.slow
def test_a_size_that_changes_goes_on_without_a_break(tmp_path: Path) -> None:
    small = programme(tmp_path / "a.ts", "libx264", range(100), level=60)
    large = programme(tmp_path / "b.ts", "libx264", range(100, 2000), level=200, height=96)
    with broadcasting(small + large) as url, watched(url, policy="every") as cam:
        taken = cam.take(101)
        status = cam.supervisor.status()
    assert [live.frame.image.shape[0] for live in taken] == [48] * 100 + [96]
    assert float(taken[-1].frame.image.mean()) == pytest.approx(200, abs=5)
    assert (status.reconnects, status.corrupt_packets) == (0, 0)


@pytest.mark.slow
def test_a_codec_that_changes_goes_on_after_a_reconnect(tmp_path: Path) -> None:
    h264 = programme(tmp_path / "a.ts", "libx264", range(2000), level=60)
    mpeg2 = programme(tmp_path / "b.ts", "mpeg2video", range(2000, 9000), level=200)
    changes = h264 + mpeg2
    with broadcasting(changes, mpeg2) as url, watched(url, stall_timeout_s=0.5) as cam:
        first = cam.take(1)[0].frame
        while (live := cam.take(1)[0]).frame.image.mean() < 150:
            pass
        status = cam.supervisor.status()
    assert float(first.image.mean()) == pytest.approx(60, abs=5)
    assert live.frame.seq > first.seq
    assert status.reconnects == 1
    assert EventName.STREAM_RETRYING in cam.names
