"""What is opened for clients: files under roots, hosts by rules, and nothing that these name."""

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from streams import (
    SourceDenied,
    SourceOptions,
    SourceUsageError,
    StreamError,
    open_source,
)
from streams.access import hosts as host_access
from streams.access.files import FileAccess
from streams.access.hosts import ANY_HOST, HostAccess, HostRules
from streams.access.policy import SourcePolicy
from tests.support.http_server import Answer, Handler, serving, with_length
from tests.support.rtsp import RtspCamera
from tests.support.streams_clips import damage, write_pattern

THERE, ELSEWHERE = "127.0.0.2", "127.0.0.1"  # a host that may be reached, and one that may not
FRAMES = 10


def policy(*hosts: str, roots: list[Path] | None = None) -> SourcePolicy:
    rules = HostRules.parse(hosts or (f"{THERE}/32",))
    return SourcePolicy(FileAccess(roots), HostAccess(rules))


def frames_of(url: str, rules: SourcePolicy, **options: object) -> int:
    asked = SourceOptions.model_validate(options)
    with open_source(url, policy=rules, options=asked, open_timeout_s=10) as source:
        return len(list(source))


def refusal(url: str, rules: SourcePolicy, kind: type[StreamError] = SourceDenied) -> StreamError:
    with pytest.raises(kind) as caught:
        open_source(url, policy=rules, open_timeout_s=5, read_timeout_s=5)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pattern(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=FRAMES)


@pytest.fixture
def root(tmp_path: Path, clip: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "clip.mp4").write_bytes(clip.read_bytes())
    return folder


def picture(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), np.full((48, 64, 3), 128, np.uint8))
    return path


@pytest.mark.parametrize("form", ["{}/clip.mp4", "file://{}/clip.mp4", "{}/../videos/./clip.mp4"])
def test_a_file_under_a_root_is_read_as_always(form: str, root: Path) -> None:
    url = form.format(root)
    assert frames_of(url, policy(roots=[root])) == FRAMES
    with open_source(url, policy=policy(roots=[root])) as ours, open_source(url) as plain:
        assert ours.info == plain.info
        for one, other in zip(ours, plain, strict=True):
            assert (one.pts, one.time_base) == (other.pts, other.time_base)
            assert np.array_equal(one.image, other.image)


@pytest.mark.parametrize("lost", [range(3, 5), range(8, 10)])
def test_a_damaged_file_is_told_of_as_always(root: Path, lost: range) -> None:
    damaged = damage(root / "clip.mp4", lost, root / "damaged.mp4")
    cut = root / "cut.mp4"
    cut.write_bytes(damaged.read_bytes()[:-900])
    for path in (damaged, cut):
        with open_source(str(path), policy=policy(roots=[root])) as ours:
            with open_source(str(path)) as plain:
                assert len(list(ours)) == len(list(plain))
            assert (ours.stats.damage, ours.stats.corrupt_packets) == (
                plain.stats.damage,
                plain.stats.corrupt_packets,
            )


def test_a_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    assert frames_of(f"{link}/clip.mp4", policy(roots=[link])) == FRAMES
    assert frames_of(f"{root}/clip.mp4", policy(roots=[link])) == FRAMES


def test_files_elsewhere_are_refused_whether_they_are_there_or_not(root: Path, clip: Path) -> None:
    (root / "out.mp4").symlink_to(clip)
    (root / "away").symlink_to(clip.parent)
    for path in (clip, root / "out.mp4", root / "away/clip.mp4", f"{root}/../../clip.mp4"):
        error = refusal(str(path), policy(roots=[root]))
        assert error.message == f"clients may not name {path}"
        assert "security.file_roots" in error.hint
    nothing = refusal("/nowhere/at.all", policy(roots=[root]))
    assert nothing.message == "clients may not name /nowhere/at.all"
    assert "clients may not name files" in refusal(str(clip), policy(roots=[])).message
    assert "clients may not name" in refusal(f"{root}-2/clip.mp4", policy(roots=[root])).message


@pytest.mark.parametrize("roots", [None, [Path("/")]])
@pytest.mark.parametrize(
    "path",
    ["/proc/self/environ", "/proc/self/fd/0", "/dev/zero", "/sys/kernel/notes"],
)
def test_what_is_no_regular_file_is_refused(path: str, roots: list[Path] | None) -> None:
    refusal(path, policy(roots=roots), StreamError)


@pytest.mark.parametrize("roots", [None, True])
def test_a_pipe_or_a_socket_is_not_waited_for(root: Path, roots: bool | None) -> None:
    os.mkfifo(root / "pipe.mp4")
    os.mkfifo(root / "pipe.png")
    allowed = policy(roots=[root] if roots else None)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket.mp4"))
        for name in ("pipe.mp4", "pipe.png", "socket.mp4"):
            assert refusal(str(root / name), allowed).message.startswith("no regular file: ")


def test_a_pipe_that_takes_a_file_s_place_is_not_waited_for(
    root: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "pipe.mp4")
    judged = clip.stat()
    access = FileAccess([root])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda path, **more: judged)
        with pytest.raises(SourceDenied, match="no regular file"):
            access.open(root / "pipe.mp4")


def test_a_link_that_takes_a_file_s_place_is_not_followed(
    root: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "sub").mkdir()
    access = FileAccess([root])
    (root / "out").symlink_to(clip.parent)
    # As if `sub` became a link after the path was resolved.
    monkeypatch.setattr(os.path, "realpath", lambda path: str(root / "out" / "clip.mp4"))
    with pytest.raises(SourceDenied, match="clients may not name"):
        access.open(root / "sub" / "clip.mp4")


def test_each_picture_of_a_folder_is_under_a_root(root: Path, tmp_path: Path) -> None:
    outside = picture(tmp_path / "outside" / "2.png")
    for number in (0, 1):
        picture(root / "frames" / f"{number}.png")
    allowed = policy(roots=[root])
    assert frames_of(str(root / "frames"), allowed) == 2
    assert frames_of(str(root / "frames" / "%d.png"), allowed) == 2
    assert frames_of(str(root / "frames" / "0.png"), allowed) == 1
    (root / "frames" / "2.png").symlink_to(outside)
    for name in ("frames", "frames/%d.png"):
        with pytest.raises(SourceDenied, match=r"clients may not name .*2\.png"):
            frames_of(str(root / name), allowed)
    (root / "elsewhere").symlink_to(outside.parent)
    refusal(str(root / "elsewhere"), allowed)
    refusal(str(root / "elsewhere" / "%d.png"), allowed)


def test_a_playlist_in_a_file_names_nothing(root: Path) -> None:
    (root / "list.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n"
    )
    (root / "list.mp4").write_text("ffconcat version 1.0\nfile 'clip.mp4'\n")
    for name in ("list.m3u8", "list.mp4"):
        with open_source(str(root / name)) as source:
            assert len(list(source)) == FRAMES, "whoever may open all can read it"
        refusal(str(root / name), policy(roots=[root]), StreamError)


def redirecting(to: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_a_redirect_leads_only_where_the_rules_do(clip: Path) -> None:
    answers = {"/v": with_length(clip.read_bytes())}
    with (
        serving(answers) as elsewhere,
        serving(answers | {"/to": redirecting(f"{elsewhere.url}/v")}, ip=THERE) as there,
        serving({"/to": redirecting(f"{there.url}/v")}, ip=THERE) as first,
    ):
        assert frames_of(f"{there.url}/v", policy()) == FRAMES
        assert frames_of(f"{first.url}/to", policy()) == FRAMES
        error = refusal(f"{there.url}/to", policy())
        assert f"clients may not name {ELSEWHERE}" in error.message
        refusal(f"{elsewhere.url}/v", policy())
        assert elsewhere.requests == []


@pytest.mark.parametrize("rules", [None, policy("public", "private", "loopback")])
def test_a_server_elsewhere_leads_nobody_to_this_machine(
    rules: SourcePolicy | None, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = host_access._kind_here

    def seen(address: host_access.IPAddress) -> host_access.HostClass:
        return host_access.HostClass.PRIVATE if str(address) == THERE else judge(address)

    monkeypatch.setattr(host_access, "_kind_here", seen)
    answers = {"/v": with_length(clip.read_bytes())}
    with (
        serving(answers) as here,
        serving(answers | {"/to": redirecting(f"{here.url}/v")}, ip=THERE) as there,
        serving({"/to": redirecting(f"{there.url}/v")}) as back,
    ):
        with pytest.raises(SourceDenied, match="a server elsewhere leads to 127"):
            open_source(f"{there.url}/to", policy=rules)
        assert here.requests == []
        for url in (f"{there.url}/v", f"{here.url}/v", f"{back.url}/to"):
            with open_source(url, policy=rules) as source:
                assert len(list(source)) == FRAMES


def test_own_ports_are_never_led_to(clip: Path) -> None:
    with serving({"/v": with_length(clip.read_bytes())}) as daemon:
        own = HostAccess(ANY_HOST, lambda: {daemon.server_address[1]})
        everywhere = SourcePolicy(FileAccess(None), own)
        with serving({"/v": redirecting(f"{daemon.url}/v")}) as server:
            for url in (f"{daemon.url}/v", f"{server.url}/v", f"tcp://{daemon.host}"):
                assert "the daemon's own" in refusal(url, everywhere).message
        assert daemon.requests == []


def test_no_proxy_reaches_what_may_not_be(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({"/v": with_length(clip.read_bytes())}, ip=THERE) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        refusal(f"http://{ELSEWHERE}:1/v", policy())
        assert proxy.requests == []


def playlist(*lines: str) -> Answer:
    head = "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:2\n"
    return with_length("\n".join([head + lines[0], *lines[1:], "#EXT-X-ENDLIST\n"]).encode())


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_pattern(tmp_path_factory.mktemp("hls") / "s.ts", frames=25).read_bytes()


@pytest.mark.slow
def test_the_pieces_of_a_playlist_come_from_where_the_rules_lead(segment: bytes) -> None:
    here = {"/s.ts": with_length(segment)}
    with serving(here) as elsewhere:
        answers = here | {
            "/l": playlist("#EXTINF:1,", "s.ts", "#EXTINF:1,", "s.ts"),
            "/out": playlist("#EXTINF:1,", f"{elsewhere.url}/s.ts"),
            "/moved": redirecting("/l"),
            "/lost.ts": redirecting(f"{elsewhere.url}/s.ts"),
            "/hop": playlist("#EXTINF:1,", "lost.ts"),
            "/all": with_length(b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\nl\n"),
            "/all-out": with_length(
                f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{elsewhere.url}/l.m3u8\n".encode()
            ),
            "/key": playlist('#EXT-X-KEY:METHOD=AES-128,URI="s.ts"', "#EXTINF:1,", "s.ts"),
        }
        with serving(answers, ip=THERE) as there:
            for path in ("/l", "/moved", "/all"):
                assert frames_of(f"{there.url}{path}", policy()) == 50
            for path in ("/out", "/hop", "/all-out"):
                refusal(f"{there.url}{path}", policy(), StreamError)
            assert "are encrypted" in refusal(f"{there.url}/key", policy(), StreamError).message
        assert elsewhere.requests == []


@pytest.mark.slow
def test_parts_of_a_file_can_be_the_pieces_of_a_playlist(segment: bytes) -> None:
    def part(handler: Handler) -> None:  # RFC 9110, 14: the last byte belongs to the range
        first, last = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
        data = both[first : last + 1]
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {first}-{last}/{len(both)}")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    both = segment + segment
    size = len(segment)
    lines = [f"#EXTINF:1,\n#EXT-X-BYTERANGE:{size}@{start}\nboth.ts" for start in (0, size)]
    with serving({"/l": playlist(*lines), "/both.ts": part}, ip=THERE) as there:
        assert frames_of(f"{there.url}/l", policy()) == 50
        assert len([path for path, _ in there.requests if path == "/both.ts"]) >= 2


@pytest.mark.parametrize(
    "body",
    [
        b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 5000 RTP/AVP 33\r\n",
        b"ffconcat version 1.0\nfile 'http://127.0.0.1/x.ts'\n",
        b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'></MPD>",
        b"[reference]\nref1=http://127.0.0.1/x\n",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "tcp"])
def test_an_answer_that_names_other_sources_is_no_video(scheme: str, body: bytes) -> None:
    if scheme == "http":
        with serving({"/v": with_length(body)}, ip=THERE) as there:
            error = refusal(f"{there.url}/v", policy(), StreamError)
        assert "no video" in error.message or "a web page" in error.message
    else:
        with listening(THERE, lambda connection: connection.sendall(body)) as (port, _):
            refusal(f"tcp://{THERE}:{port}", policy(), StreamError)


@contextmanager
def listening(ip: str, talk: object) -> Iterator[tuple[int, list[object]]]:
    """A server that `talk`s to each who comes, and the list of who came."""
    came: list[object] = []

    def run() -> None:
        while True:
            try:
                connection, who = server.accept()
            except OSError:
                return
            came.append(who)
            with connection:
                connection.settimeout(5)
                with suppress(OSError):
                    talk(connection)  # type: ignore[operator]

    with socket.create_server((ip, 0)) as server:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server.getsockname()[1], came
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def rtsp_redirect(to: str, method: bytes) -> object:
    """Answers as RFC 2326 has it; to one method, with a redirect."""
    sdp = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    sdp += b"a=rtpmap:96 H264/90000\r\na=control:track1\r\n"

    def talk(connection: socket.socket) -> None:
        while request := connection.recv(4096):
            cseq = next(line for line in request.split(b"\r\n") if line.startswith(b"CSeq"))
            asked = request.split()[0]
            if asked == method:
                answer = b"302 Moved\r\n%s\r\nLocation: %s\r\n\r\n" % (cseq, to.encode())
            elif asked == b"DESCRIBE":
                head = b"Content-Type: application/sdp\r\nContent-Length: %d" % len(sdp)
                answer = b"200 OK\r\n%s\r\n%s\r\n\r\n%s" % (cseq, head, sdp)
            else:
                answer = b"200 OK\r\n%s\r\n\r\n" % cseq
            connection.sendall(b"RTSP/1.0 " + answer)

    return talk


@pytest.mark.parametrize("method", [b"OPTIONS", b"DESCRIBE", b"SETUP"])
@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "tcp"])
def test_a_camera_cannot_send_us_elsewhere(scheme: str, method: bytes) -> None:
    with listening(ELSEWHERE, lambda connection: None) as (port, came):
        to = f"{scheme}://{ELSEWHERE}:{port}/x"
        with listening(THERE, rtsp_redirect(to, method)) as (camera, asked):
            error = refusal(f"rtsp://{THERE}:{camera}/live", policy(), StreamError)
            if (scheme, method) == ("rtsp", b"DESCRIBE"):
                assert error.hint == "where it redirects, give the address that it means"
            assert asked
        assert came == []


def test_hosts_that_ffmpeg_would_look_up_are_refused() -> None:
    with listening(ELSEWHERE, lambda connection: None) as (port, came):
        for url in (
            f"rtsp://localhost:{port}/x",
            f"rtsp://2130706433:{port}/x",
            f"rtsp://{THERE}@{ELSEWHERE}:{port}/x",
            f"rtmp://127.1:{port}/live/x",
            f"tcp://localhost:{port}",
            f"tcp://0x7f.1:{port}?timeout=1",
        ):
            assert "own machine" in refusal(url, policy()).message
        assert came == []


@pytest.mark.slow
def test_a_real_camera_is_reached_by_its_checked_address(clip: Path) -> None:
    with RtspCamera(clip) as camera:
        url = camera.url.replace(ELSEWHERE, "localhost")
        with open_source(url, policy=policy("loopback"), open_timeout_s=30) as source:
            assert source.info.live
            assert source.info.url == url
        assert "own machine" in refusal(url, policy()).message


@pytest.mark.parametrize(
    "url",
    ["udp://:5000", "udp://@:5000", "rtp://127.0.0.2:5000", "tcp://127.0.0.2:5000?listen=1"],
)
def test_a_source_that_waits_for_who_sends_must_be_allowed(url: str) -> None:
    assert "it waits for who sends" in refusal(url, policy()).message
    policy("listen", "loopback").check(parse(url))


def test_rtsp_over_udp_and_groups_must_be_allowed() -> None:
    udp = SourceOptions(rtsp_transport="udp")
    with pytest.raises(SourceDenied, match="RTSP over UDP"):
        open_source("rtsp://127.0.0.2/x", options=udp, policy=policy())
    assert "a multicast group" in refusal("udp://@239.1.2.3:5000", policy()).message
    policy("multicast").check(parse("udp://@239.1.2.3:5000"))


def parse(url: str) -> object:
    from streams.address import parse_address

    return parse_address(url)


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="cameras are paths on Linux")
@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/dev/shm", "/dev/../etc/passwd"])
def test_only_a_camera_is_opened_as_one(path: str) -> None:
    assert refusal(f"webcam:{path}", policy()).message.startswith("no camera: ")


CONTROLS = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\x1b",
    "\x7f",
    "\x85",
    "\u2028",
    "%0d%0a",
    "%0A",
    "%00",
    "%7f",
]


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize(
    "form",
    [
        "rtsp://127.0.0.2/a{}DELETE x",
        "rtsp://u{}:p@127.0.0.2/a",
        "rtsp://u:p{}@127.0.0.2/a",
        "rtsp://127.0.0.2{}/a",
        "http://127.0.0.2/a?b={}Host:x",
        "http://u:p{}@127.0.0.2/a",
        "rtmp://127.0.0.2/live/{}",
        "udp://:5000?localaddr={}",
        "webcam:/dev/{}",
    ],
)
def test_control_characters_are_no_part_of_an_address(form: str, control: str) -> None:
    for rules in (policy(), None):  # nor of one that the operator wrote
        with pytest.raises(SourceUsageError, match="holds control characters"):
            open_source(form.format(control), policy=rules)


def test_control_characters_are_no_part_of_patterns_and_of_files_of_clients(root: Path) -> None:
    refusal("lavfi:testsrc2=size=\n64x64", policy(), SourceUsageError)
    (root / "a\nb.mp4").write_bytes((root / "clip.mp4").read_bytes())
    error = refusal(f"{root}/a\nb.mp4", policy(roots=[root]), SourceUsageError)
    assert "control characters" in error.message


@pytest.mark.parametrize("name", ["a%0d%0ab", "127.0.0.1 x", "a\\b", "a%31", "a<b", "[::1", "a;b"])
def test_a_host_is_letters_digits_and_dots(name: str) -> None:
    with pytest.raises(SourceUsageError):
        open_source(f"rtsp://{name}:554/x")


@pytest.mark.parametrize("scheme", ["http", "rtsp", "tcp"])
def test_a_login_that_no_url_can_hold_is_not_told(scheme: str) -> None:
    with pytest.raises(SourceUsageError) as caught:  # what Python says of it holds all of it
        open_source(f"{scheme}://user:hunter2\u2100@127.0.0.1:1/x")
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert caught.value.__context__ is None


@pytest.mark.slow
@pytest.mark.parametrize(("name", "trusted"), [("localhost", True), ("another", False)])
def test_a_certificate_is_compared_with_the_name_that_was_given(
    name: str, trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    try:
        subprocess.run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {key} -out {certificate} "
            f"-subj /CN=cam -addext subjectAltName=DNS:{name}".split(),
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asked: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            asked.append(tls.recv(4096))

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    verified = SourceOptions(tls_verify=True)
    with listening(ELSEWHERE, talk) as (port, came):
        url = f"rtsps://localhost:{port}/live"
        with pytest.raises(StreamError):
            open_source(url, options=verified, policy=policy("loopback"), open_timeout_s=5)
        assert came
    assert [request.split()[:2] for request in asked if request] == (
        [[b"OPTIONS", f"rtsps://127.0.0.1:{port}/live".encode()]] if trusted else []
    )
