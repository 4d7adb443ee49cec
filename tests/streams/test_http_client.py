"""How a server is spoken to over HTTP: logins, redirects, certificates, deadlines, web pages."""

import base64
import hashlib
import re
import ssl
from pathlib import Path
from urllib.request import parse_http_list, parse_keqv_list

import numpy as np
import pytest

from streams import (
    SourceDenied,
    SourceNotFound,
    SourceOptions,
    SourceTimeout,
    SourceUnreadable,
    StreamError,
    open_source,
)
from streams.net.http_auth import Login
from tests.support.certificates import self_signed
from tests.support.http_server import Answer, Handler, ranged, serving, until_closed, with_length
from tests.support.streams_clips import write_clip, write_pattern

USER, PASSWORD = "viewer", "pa:ss wörd@1"
LOGIN = "viewer:pa%3Ass%20w%C3%B6rd%401"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_pattern(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=5).read_bytes()


def frames_of(url: str, **options: object) -> int:
    with open_source(url, options=SourceOptions.model_validate(options)) as source:
        return len(list(source))


def refusal(url: str, **options: object) -> StreamError:
    with pytest.raises(StreamError) as caught:
        open_source(url, options=SourceOptions.model_validate(options), open_timeout_s=5)
    told = (
        f"{caught.value!s} {caught.value!r} {caught.value.__cause__!s} {caught.value.__cause__!r}"
    )
    assert "w%C3" not in told
    assert "wörd" not in told
    assert "\n" not in str(caught.value)
    return caught.value


def test_digest_answers_are_those_of_the_standards() -> None:
    """The examples of RFC 2617 (3.5) and RFC 7616 (3.9.1)."""
    fields = {"cnonce": "0a4f113b", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093"}
    answer = Login("Mufasa", "Circle Of Life")._digest(
        {"realm": "testrealm@host.com", "qop": "auth,auth-int"} | fields,
        "GET",
        "/dir/index.html",
        "0a4f113b",
    )
    assert answer is not None
    assert 'response="6629fae49393a05397450978507c4ef1"' in answer
    asked = {
        "realm": "http-auth@example.org",
        "qop": "auth, auth-int",
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    }
    for algorithm, response in (
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ):
        answer = Login("Mufasa", "Circle of Life")._digest(
            asked | {"algorithm": algorithm},
            "GET",
            "/dir/index.html",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )
        assert answer is not None
        assert f'response="{response}"' in answer


def asking(challenges: list[str], accepts: "Accepts", data: bytes) -> Answer:
    """Send the data to whoever answers one of the challenges right."""

    def answer(handler: Handler) -> None:
        if accepts(handler.headers.get("Authorization", ""), handler.path):
            handler.send(data)
            return
        handler.send_response(401)
        for challenge in challenges:
            handler.send_header("WWW-Authenticate", challenge)
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"<p>no")

    return answer


class Accepts:
    """Checks a login as a server does, by the text of RFC 7617 and RFC 7616."""

    def __call__(self, header: str, path: str) -> bool:
        scheme, _, rest = header.partition(" ")
        if scheme == "Basic":
            return base64.b64decode(rest).decode() == f"{USER}:{PASSWORD}"
        if scheme != "Digest":
            return False
        got = parse_keqv_list(parse_http_list(rest))
        hash_ = hashlib.sha256 if got.get("algorithm") == "SHA-256" else hashlib.md5

        def h(text: str) -> str:
            return hash_(text.encode()).hexdigest()

        a1, a2 = h(f"{USER}:{got['realm']}:{PASSWORD}"), h(f"GET:{path}")
        middle = f":{got['nc']}:{got['cnonce']}:auth" if "qop" in got else ""
        return got["uri"] == path and got["response"] == h(f"{a1}:{got['nonce']}{middle}:{a2}")


CHALLENGES = {
    "basic": ['Basic realm="cam"'],
    "digest of RFC 2069": ['Digest realm="cam", nonce="abc"'],
    "digest with qop": ['Digest realm="ca,m", qop="auth,auth-int", nonce="a=b", opaque="x"'],
    "sha-256": ['Digest realm="cam", algorithm=SHA-256, qop=auth, nonce="abc"'],
    "several headers": ['Digest realm="cam", algorithm=SHA-512-256, nonce="a"', 'Basic realm="c"'],
    "several in a header": ['Basic realm="cam", Digest realm="cam", nonce="abc", qop="auth"'],
    "lower case": ['digest REALM="cam", NONCE="abc"'],
}


@pytest.mark.parametrize("name", CHALLENGES)
def test_a_login_is_given_as_the_camera_asks_for_it(name: str, clip: bytes) -> None:
    with serving({"/v": asking(CHALLENGES[name], Accepts(), clip)}) as server:
        assert frames_of(f"http://{LOGIN}@{server.host}/v?channel=1") == 5
        wrong = refusal(f"http://viewer:w%C3%B6rd@{server.host}/v")
        without = refusal(f"http://{server.host}/v")
    for error in (wrong, without):
        assert isinstance(error, SourceDenied)
        assert error.message.startswith("access denied: http://")
    assert without.hint == "give a login: http://user:password@host/…"


def redirecting(to: str, code: int = 302) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(code)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_redirects_are_followed_a_few_times(clip: bytes) -> None:
    answers = {f"/{n}": redirecting(f"/{n - 1}", 307) for n in range(1, 8)}
    with serving(answers | {"/0": with_length(clip)}) as server:
        assert frames_of(f"{server.url}/5") == 5
        assert "redirects again and again" in refusal(f"{server.url}/6").message


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "rtsp://127.0.0.1/x"])
def test_a_redirect_leads_to_http_only(to: str) -> None:
    with serving({"/v": redirecting(to)}) as server:
        error = refusal(f"{server.url}/v")
    assert "redirects to something else than http" in error.message


def test_a_login_stays_with_its_host(clip: bytes) -> None:
    asks = asking(CHALLENGES["basic"], Accepts(), clip)
    with serving({"/v": asks}) as other, serving({"/v": redirecting(f"{other.url}/v")}) as server:
        error = refusal(f"http://{LOGIN}@{server.host}/v")
    assert isinstance(error, SourceDenied)
    assert not any("Authorization" in headers for _, headers in other.requests)
    with serving({"/v": redirecting("/w"), "/w": asks}) as server:
        assert frames_of(f"http://{LOGIN}@{server.host}/v") == 5


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<!DOCTYPE html><form>login</form>"),
        ("text/html; charset=utf-8", b"Please log in."),
        ("text/html", b""),
        ("application/octet-stream", b"\xef\xbb\xbf\n <HTML><body>login"),
        ("application/json", b'{"error": "login"}'),
        ("application/xml", b'<?xml version="1.0"?><error/>'),
    ],
)
def test_a_web_page_is_told_from_a_video(kind: str, body: bytes) -> None:
    answers = {"/v": lambda handler: handler.send(body, kind), "/moved": redirecting("/v")}
    with serving(answers) as server:
        for path in ("/v", "/moved"):
            error = refusal(f"http://{LOGIN}@{server.host}{path}")
            assert error.message.startswith("the server sent a web page, not a video: http://***@")


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (403, SourceDenied, "access denied"),
        (410, SourceNotFound, "the server has nothing at"),
        (503, SourceUnreadable, "the server answered 503 Service Unavailable"),
    ],
)
def test_a_refusal_says_what_the_server_said(code: int, kind: type[StreamError], says: str) -> None:
    with serving({"/v": lambda handler: handler.send_error(code)}) as server:
        error = refusal(f"http://{LOGIN}@{server.host}/v?token={PASSWORD[:2]}w%C3%B6rd")
    assert type(error) is kind
    assert error.message.startswith(says)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    self_signed(folder / "cert.pem", folder / "both.pem", alternative="IP:127.0.0.1")
    with (folder / "both.pem").open("ab") as file:
        file.write((folder / "cert.pem").read_bytes())
    return folder


@pytest.mark.slow
def test_a_certificate_is_checked_unless_told_not_to(
    certificate: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "both.pem")
    with serving({"/v": ranged(clip)}, context=context) as server:
        url = f"https://{LOGIN}@{server.host}/v"
        error = refusal(url)
        assert re.match(r"the certificate of https://\*\*\*@.* is not trusted: self", error.message)
        assert "tls_verify=false" in error.hint
        assert not server.requests
        assert frames_of(url, tls_verify=False) == 5
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
        assert frames_of(url) == 5


def test_what_the_client_says_of_itself(clip: bytes) -> None:
    with serving({"/v": with_length(clip)}) as server:
        frames_of(f"{server.url}/v?a=1&b=%20")
        frames_of(f"{server.url}/v", user_agent="Mozilla/5.0 (camera)")
    (path, first), (_, second) = server.requests
    assert path == "/v?a=1&b=%20"
    assert first["User-Agent"] == "trackd"
    assert second["User-Agent"] == "Mozilla/5.0 (camera)"


def test_a_server_that_drips_its_head_is_left() -> None:
    def dripping(handler: Handler) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000:
            handler.wfile.write(bytes([byte]))
            if handler.server.ending.wait(0.05):
                return

    with serving({"/v": dripping}) as server, pytest.raises(SourceTimeout, match=r"within 0\.5 s"):
        open_source(f"{server.url}/v", open_timeout_s=0.5)


@pytest.mark.parametrize(
    "head", [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200]
)
def test_what_is_no_http_says_so(head: bytes) -> None:
    def answer(handler: Handler) -> None:
        handler.wfile.write(head + b"\r\n")

    with serving({"/v": answer}) as server:
        error = refusal(f"http://{LOGIN}@{server.host}/v")
    assert error.message.startswith("no HTTP answer from http://***@")


def test_a_connection_that_breaks_is_no_end(clip: bytes) -> None:
    def breaking(handler: Handler) -> None:
        handler.begin(None, Content_Length=str(len(clip)))
        handler.wfile.write(clip[:-2000])

    def breaking_chunks(handler: Handler) -> None:
        handler.begin(None, Transfer_Encoding="chunked")
        handler.chunk(clip[:-2000])
        handler.wfile.write(b"7d0\r\n" + clip[-2000:-1000])

    for answer in (breaking, breaking_chunks):
        with serving({"/v.mp4": answer}) as server, pytest.raises(SourceUnreadable, match="broke"):
            frames_of(f"{server.url}/v.mp4")


@pytest.mark.slow
def test_a_file_whose_index_comes_last_needs_ranges(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 240, 320, 3), np.uint8)
    last = write_clip(tmp_path / "last.mov", list(noise)).read_bytes()
    assert last.index(b"moov") > len(last) // 2
    with serving({"/r": ranged(last), "/u": until_closed(last)}) as server:
        assert frames_of(f"{server.url}/r") == 30
        error = refusal(f"{server.url}/u")
    assert error.message.startswith("the index (moov) of http://")
    assert "faststart" in error.hint
