"""Sources over UDP, RTP, TCP and RTMP; and what a playlist may refer to."""

import itertools
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import which

import av
import pytest

from streams import SourceOptions, SourceUnreadable, SourceUsageError, StreamError, open_source
from tests.support.http_server import Answer, serving, with_length
from tests.support.streams_clips import write_pattern

ROOT = Path(__file__).parents[2]


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def free_rtp_port() -> int:
    """An even UDP port that is free, as is the odd one after it, which is RTCP's (RFC 3550)."""
    for _ in range(1000):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp,
            suppress(OSError),
        ):
            rtp.bind(("127.0.0.1", 0))
            port: int = rtp.getsockname()[1]
            if port % 2 == 0:
                rtcp.bind(("127.0.0.1", port + 1))
                return port
    pytest.fail("no even port is free")


@contextmanager
def sending(url: str, format_: str, *, codec: str = "libx264") -> Iterator[None]:
    """Send gray pictures, a level brighter each, at 25 a second, to who listens or comes."""
    command = [sys.executable, "-m", "tests.support.send_video", url, format_, codec]
    sender = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        sender.kill()
        sender.wait()


def check(url: str, shown: str, **options: int) -> None:
    asked = SourceOptions.model_validate(options)
    with open_source(url, open_timeout_s=30, options=asked) as source:
        levels = [frame.image.mean() for frame, _ in zip(source, range(12), strict=False)]
    assert source.info.live
    assert source.info.url == shown
    steps = {round(later - earlier) % 200 for earlier, later in itertools.pairwise(levels)}
    assert steps <= {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["udp://127.0.0.1:{}", "UDP://@:{}", "udp://:{}"])
def test_mpeg_ts_over_udp(form: str) -> None:
    port = free_port(socket.SOCK_DGRAM)
    with sending(f"udp://127.0.0.1:{port}", "mpegts"):
        check(form.format(port), form.format(port).replace("UDP", "udp"))


@pytest.mark.slow
def test_mpeg_ts_over_udp_multicast() -> None:
    port = free_port(socket.SOCK_DGRAM)
    group = f"239.255.42.42:{port}"
    with sending(f"udp://{group}?localaddr=127.0.0.1", "mpegts"):
        check(f"udp://@{group}?localaddr=127.0.0.1", f"udp://@{group}?***")


@pytest.mark.slow
def test_mpeg_ts_over_rtp() -> None:
    port = free_rtp_port()
    with sending(f"rtp://127.0.0.1:{port}", "rtp_mpegts"):
        check(f"rtp://127.0.0.1:{port}", f"rtp://127.0.0.1:{port}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format_", "codec", "options"),
    [
        ("mpegts", "libx264", {}),
        ("h264", "libx264", {"analyzeduration": 200_000}),
        ("mjpeg", "mjpeg", {}),
    ],
)
def test_a_stream_over_tcp(format_: str, codec: str, options: dict[str, int]) -> None:
    port = free_port(socket.SOCK_STREAM)
    with sending(f"tcp://127.0.0.1:{port}?listen=1", format_, codec=codec):
        wait_until_it_listens(port)
        check(f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port}", **options)


@pytest.mark.slow
@pytest.mark.skipif(which("ffmpeg") is None, reason="no ffmpeg that listens for RTMP")
def test_rtmp() -> None:
    port = free_port(socket.SOCK_STREAM)
    url = f"rtmp://127.0.0.1:{port}/live/abcd-1234-efgh-5678"
    pattern = "ffmpeg -v error -re -f lavfi -i testsrc2=size=64x48:rate=25 -c:v libx264"
    command = [*pattern.split(), "-tune", "zerolatency", "-f", "flv", "-listen", "1", url]
    sender = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        wait_until_it_listens(port)
        with open_source(url.replace("rtmp", "RTMP"), open_timeout_s=30) as source:
            shapes = [frame.image.shape for frame, _ in zip(source, range(12), strict=False)]
    finally:
        sender.kill()
        sender.wait()
    assert shapes == [(48, 64, 3)] * 12
    assert source.info.live
    assert source.info.url == f"rtmp://127.0.0.1:{port}/live/***"


def wait_until_it_listens(port: int) -> None:
    """FFmpeg takes one connection only, so it must not be tried; the system knows who listens."""
    entry = f"0100007F:{port:04X} 00000000:0000 0A"
    for _ in range(600):
        if entry in Path("/proc/net/tcp").read_text():
            return
        threading.Event().wait(0.05)
    pytest.fail("the sender does not listen")


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("srt://127.0.0.1:9000?streamid=x", "no SRT; relay it"),
        ("SFTP://me:hunter2@h/clip.mp4", "mount the folder"),
        ("smb://me:hunter2@h/share/clip.mp4", "mount the share"),
        ("webrtc://h/x", "relay it as rtsp"),
        ("concat://a.mp4|b.mp4", "give a file, an image folder"),
        ("gopher://h/x", "give a file, an image folder"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(url: str, hint: str) -> None:
    with pytest.raises(SourceUsageError) as caught:
        open_source(url)
    assert caught.value.message.startswith(f"unknown kind of source {url.split(':')[0].lower()}://")
    assert hint in caught.value.hint
    assert "hunter2" not in str(caught.value)


@pytest.mark.slow
def test_rtp_without_a_description_says_what_to_do() -> None:
    port = free_rtp_port()
    with (
        sending(f"rtp://127.0.0.1:{port}", "rtp"),
        pytest.raises(SourceUnreadable) as caught,
    ):
        open_source(f"rtp://127.0.0.1:{port}")
    assert caught.value.hint == "rtp:// is for MPEG-TS; take other streams by rtsp://"


def playlist(*names: str) -> Answer:
    entries = "".join(f"#EXTINF:1.0,\n{name}\n" for name in names)
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n"
    return with_length(f"{head}{entries}#EXT-X-ENDLIST\n".encode())


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pattern(tmp_path_factory.mktemp("hls") / "seg.ts", frames=25)


def test_a_playlist_is_played_also_from_another_port(segment: Path) -> None:
    data = with_length(segment.read_bytes())
    with (
        serving({"/seg.ts": data}) as other,
        serving({"/seg.ts": data, "/l": playlist("seg.ts", f"{other.url}/seg.ts")}) as server,
        open_source(f"http://me:hunter2@{server.host}/l?token=x") as source,
    ):
        assert len(list(source)) == 50
    assert not source.info.live
    assert source.info.url == f"http://***@{server.host}/l?***"


@pytest.mark.parametrize(
    "form", ["file://{}", "{}", "concat:{}", "subfile,,start,0,end,0,,:{}", "crypto+file://{}"]
)
def test_a_playlist_cannot_name_files_of_this_machine(segment: Path, form: str) -> None:
    with open_source(str(segment)) as source:  # it is there, and a video
        assert len(list(source)) == 25
    answers = {"/l": playlist(form.format(segment))}
    with serving(answers) as server, pytest.raises(StreamError):
        open_source(f"{server.url}/l")


@pytest.mark.parametrize("scheme", ["tcp", "gopher", "ftp", "udp"])
def test_a_playlist_cannot_name_other_protocols(segment: Path, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        named = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/seg.ts"
        with serving({"/l": playlist(named)}) as server, pytest.raises(StreamError):
            open_source(f"{server.url}/l")
        with pytest.raises(TimeoutError):  # nobody came
            listener.accept()


@pytest.mark.parametrize(
    "head",
    [
        b"ffconcat version 1.0\nfile '%s'\n",
        b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 5000 RTP/AVP 33\r\n",
    ],
)
def test_what_names_other_sources_is_no_video(segment: Path, head: bytes) -> None:
    data = head % str(segment).encode() if b"%s" in head else head
    with serving({"/l": with_length(data)}) as server, pytest.raises(StreamError):
        open_source(f"{server.url}/l")


@pytest.mark.slow
def test_an_answer_that_describes_a_stream_opens_no_port(tmp_path: Path) -> None:
    port = free_rtp_port()
    described = f"v=0\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 33\n"
    (tmp_path / "stream.sdp").write_text(described)
    with sending(f"rtp://127.0.0.1:{port}", "rtp_mpegts"):
        protocols = {"protocol_whitelist": "file,rtp,udp"}
        with av.open(str(tmp_path / "stream.sdp"), options=protocols, timeout=30) as container:
            assert next(container.decode(video=0)).width == 64  # it could be received
        with (
            serving({"/v": with_length(described.encode())}) as server,
            pytest.raises(StreamError),
        ):
            open_source(f"{server.url}/v")


@pytest.mark.slow
def test_a_local_playlist_reads_files_only(segment: Path, tmp_path: Path) -> None:
    with serving({"/seg.ts": with_length(segment.read_bytes())}) as server:
        local = tmp_path / "list.m3u8"
        local.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{server.url}/seg.ts\n")
        with pytest.raises(StreamError):
            open_source(str(local))
        assert server.requests == []
