"""Reading from real servers: HTTP, RTSP over TCP, and ones that refuse or fall silent."""

import base64
import http.server
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import av
import pytest

from streams import SourceNotFound, SourceTimeout, SourceUnreadable, StreamError, open_source
from tests.support.streams_clips import gray, write_clip, write_pattern


class ClipHandler(http.server.BaseHTTPRequestHandler):
    """Serves `server.clip`: whole at /clip, half of it and then silence at /half."""

    server: "ClipServer"

    def do_GET(self) -> None:
        if self.path.startswith("/denied"):
            self.send_error(401)
        elif self.path.startswith("/clip") or self.path.startswith("/half"):
            data = self.server.clip.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            half = self.path.startswith("/half")
            self.wfile.write(data[: len(data) // 2] if half else data)
            if half:
                self.server.stopping.wait(30)
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


class ClipServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, clip: Path) -> None:
        super().__init__(("127.0.0.1", 0), ClipHandler)
        self.clip = clip
        self.stopping = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that leaves early is what these tests do


@contextmanager
def serving(clip: Path) -> Iterator[str]:
    server = ClipServer(clip)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def silent_server() -> Iterator[str]:
    """Accept connections and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def assert_keeps_secret(error: StreamError, secret: str = "hunter2") -> None:
    assert error.__cause__ is not None
    for link in (error, error.__cause__):
        assert secret not in str(link)
        assert secret not in repr(link)


def test_a_file_over_http(tmp_path: Path) -> None:
    clip = write_pattern(tmp_path / "clip.mp4", frames=10)
    with serving(clip) as host, open_source(f"http://me:hunter2@{host}/clip.mp4") as source:
        assert [frame.seq for frame in source] == list(range(10))
    assert source.info.url == f"http://***@{host}/clip.mp4"
    assert not source.info.live


def test_http_errors(tmp_path: Path) -> None:
    clip = write_pattern(tmp_path / "clip.mp4", frames=2)
    with serving(clip) as host:
        with pytest.raises(SourceNotFound, match="the server has nothing at") as caught:
            open_source(f"http://me:hunter2@{host}/nothing.mp4")
        assert_keeps_secret(caught.value)
        with pytest.raises(SourceUnreadable, match="access denied") as denied:
            open_source(f"http://me:hunter2@{host}/denied.mp4")
        assert_keeps_secret(denied.value)


@pytest.mark.slow
def test_a_stream_that_falls_silent_times_out_after_its_frames(tmp_path: Path) -> None:
    clip = write_pattern(tmp_path / "clip.ts", frames=200, size="320x240")
    frames = 0
    with serving(clip) as host:
        url = f"http://me:hunter2@{host}/half.ts"
        source = open_source(url, read_timeout_s=0.6)
        with source, pytest.raises(SourceTimeout, match=r"within 0\.6 s") as caught:
            for _ in source:
                frames += 1
        assert list(source) == []
    assert frames > 10
    assert_keeps_secret(caught.value)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_silent_host_times_out_while_opening(scheme: str) -> None:
    with silent_server() as host, pytest.raises(SourceTimeout, match="no answer from") as caught:
        open_source(f"{scheme}://me:hunter2@{host}/live", open_timeout_s=0.3)
    assert_keeps_secret(caught.value)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_closed_port_refuses(scheme: str) -> None:
    with silent_server() as host:
        pass  # now nobody listens there
    with pytest.raises(SourceUnreadable, match="connection refused") as caught:
        open_source(f"{scheme}://me:hunter2@{host}/live")
    assert_keeps_secret(caught.value)


SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track0\r\n"
)


class Camera(threading.Thread):
    """An RTSP camera for one client: asks for a password, then plays a clip over TCP."""

    def __init__(self, clip: Path, login: str) -> None:
        super().__init__()
        self.hung_up = threading.Event()
        self._clip = clip
        self._expected = "Basic " + base64.b64encode(login.encode()).decode()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.transports: list[str] = []

    def run(self) -> None:
        with self._server:
            client, _ = self._server.accept()
        with client, client.makefile("rb") as lines:
            while request := self._read(lines):
                if request["Authorization"] != self._expected:
                    reply = 'RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="c"\r\n'
                    body = ""
                else:
                    reply, body = self._reply(request)
                head = f"{reply}CSeq: {request['CSeq']}\r\nContent-Length: {len(body)}\r\n\r\n"
                client.sendall((head + body).encode())
                if request["method"] == "PLAY":
                    self._play(client)
                    self.hung_up.wait(30)
                    return

    def _read(self, lines: BufferedReader) -> dict[str, str]:
        head = {"Authorization": ""}
        while line := lines.readline().decode().strip():
            name, _, value = line.partition(": ")
            if value:
                head[name] = value
            else:
                head["method"] = line.split()[0]
        return head if "method" in head else {}

    def _reply(self, request: dict[str, str]) -> tuple[str, str]:
        ok = "RTSP/1.0 200 OK\r\n"
        match request["method"]:
            case "OPTIONS":
                return ok + "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n", ""
            case "DESCRIBE":
                return ok + "Content-Type: application/sdp\r\n", SDP
            case "SETUP":
                self.transports.append(request["Transport"])
                return ok + "Transport: RTP/AVP/TCP;interleaved=0-1\r\nSession: 1\r\n", ""
        return ok + "Session: 1\r\n", ""

    def _play(self, client: socket.socket) -> None:
        sequence = 0
        with av.open(str(self._clip)) as container:
            packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
        for index, packet in enumerate(packets):
            units = [unit for unit in re.split(rb"\x00?\x00\x00\x01", packet) if unit]
            for unit in units:
                marker = 0x80 if unit is units[-1] else 0
                rtp = struct.pack(">BBHII", 0x80, 96 | marker, sequence, index * 3600, 7) + unit
                client.sendall(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
                sequence += 1


@contextmanager
def camera(clip: Path, login: str) -> Iterator[Camera]:
    thread = Camera(clip, login)
    thread.start()
    try:
        yield thread
    finally:
        thread.hung_up.set()
        thread.join()


@pytest.mark.slow
def test_a_camera_over_rtsp_uses_tcp_and_its_password_until_it_falls_silent(tmp_path: Path) -> None:
    images = [gray(level) for level in range(40, 240, 4)]
    clip = write_clip(tmp_path / "cam.h264", images, options={"tune": "zerolatency"})
    frames = []
    with camera(clip, "me:hunter2") as server:
        url = f"rtsp://me:hunter2@{server.host}/live"
        source = open_source(url, stream="door", read_timeout_s=0.3)
        with source, pytest.raises(SourceTimeout, match="no answer from") as caught:
            for frame in source:
                frames.append(frame)
    assert_keeps_secret(caught.value)
    assert source.info.live
    assert source.info.frame_count is None
    assert source.info.url == f"rtsp://***@{server.host}/live"
    assert ["TCP" in transport for transport in server.transports] == [True]
    assert [frame.seq for frame in frames] == list(range(50))
    assert [frame.image.mean() for frame in frames] == pytest.approx(range(40, 240, 4), abs=3)
    assert {frame.stream for frame in frames} == {"door"}


def test_a_camera_with_another_password_denies_access(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "cam.h264", [gray(90)] * 2)
    with (
        camera(clip, "me:other") as server,
        pytest.raises(SourceUnreadable, match="access denied") as caught,
    ):
        open_source(f"rtsp://me:hunter2@{server.host}/live")
    assert_keeps_secret(caught.value)
