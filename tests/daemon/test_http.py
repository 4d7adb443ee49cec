"""Metrics and health over real HTTP."""

import contextlib
import http.client
import socket
import threading
import time

import pytest

from tracker.daemon.telemetry import http as daemon_http
from tracker.daemon.telemetry.http import HttpServer
from tracker.daemon.telemetry.metrics import build_registry
from tracker.daemon.telemetry.status import DaemonStatus
from tracker.daemon.telemetry.systemd import notify
from tracker.errors import TrackdError

_DEADLINE_S = 30


class Daemon:
    """What the server asks; `gate` holds scrapes back while it is closed."""

    def __init__(self) -> None:
        self.healthy = True
        self.ready = True
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()
        self.scraping = threading.Semaphore(0)
        registry = build_registry(self.status)
        self.server = HttpServer(
            "127.0.0.1",
            0,
            registry,
            health=lambda: [] if self.healthy else ["tracker: its thread is gone"],
            readiness=lambda: [] if self.ready else ["it is draining", "cam1 is off"],
        )

    def status(self) -> DaemonStatus:
        self.scraping.release()
        assert self.gate.wait(_DEADLINE_S)
        if self.broken:
            raise RuntimeError("no status")
        return DaemonStatus(self.healthy, self.ready, 1.0, "1", "pico", "cpu")

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, str, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=_DEADLINE_S)
        try:
            connection.request(method, path, headers=headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read().decode(), reply.headers
        finally:
            connection.close()


@pytest.fixture
def daemon():
    daemon = Daemon()
    daemon.server.start()
    yield daemon
    daemon.gate.set()
    daemon.server.stop()


def test_metrics_are_shown(daemon):
    status, body, headers = daemon.ask("/metrics")
    assert status == 200
    assert "trackd_uptime_seconds 1.0" in body
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_a_reader_may_ask_for_openmetrics(daemon):
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    status, body, headers = daemon.ask("/metrics", headers=accept)
    assert status == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith("# EOF\n")


def test_health_and_readiness_differ(daemon):
    assert daemon.ask("/healthz")[:2] == (200, "ok\n")
    assert daemon.ask("/readyz?verbose=1")[:2] == (200, "ok\n")
    daemon.ready = False
    assert daemon.ask("/healthz")[0] == 200
    assert daemon.ask("/readyz")[:2] == (503, "no: it is draining\nno: cam1 is off\n")
    daemon.healthy = False
    assert daemon.ask("/healthz")[:2] == (503, "no: tracker: its thread is gone\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../etc/passwd", "/METRICS"])
def test_there_is_nothing_else(daemon, path):
    assert daemon.ask(path)[0] == 404


def test_head_is_get_without_the_body(daemon):
    status, body, headers = daemon.ask("/healthz", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, "", "3")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "<script>"])
def test_nothing_can_be_written(daemon, method):
    status, body, _ = daemon.ask("/metrics", method)
    assert (status, body) == (501, "")


def test_what_serves_is_not_told(daemon):
    for path in ("/metrics", "/absent"):
        assert "Server" not in daemon.ask(path)[2]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9570", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:9570", 200),
        ("evil.example.org", 421),
        ("127.0.0.1.evil.example.org", 421),
        ("localhost.evil.example.org:9570", 421),
    ],
)
def test_a_web_page_cannot_read_it_through_a_name_of_its_own(daemon, host, status):
    assert daemon.ask("/metrics", headers={"Host": host})[0] == status


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    ],
)
def test_nonsense_is_answered_shortly_and_the_next_one_is_served(daemon, sent):
    address = ("127.0.0.1", daemon.server.port)
    with socket.create_connection(address, _DEADLINE_S) as raw:
        raw.sendall(sent)
        with contextlib.suppress(ConnectionResetError):  # it did not read all that was sent
            assert b"Traceback" not in raw.recv(4096)
    assert daemon.ask("/healthz")[0] == 200


def test_a_scrape_that_fails_is_an_error_and_not_the_end(daemon, caplog):
    daemon.broken = True
    status, body, _ = daemon.ask("/metrics")
    assert (status, body) == (500, "it failed; see the log\n")
    assert "cannot answer /metrics" in caplog.text
    daemon.broken = False
    assert daemon.ask("/metrics")[0] == 200


def test_scrapes_beyond_the_bound_are_refused_and_health_is_answered_beside_them(daemon):
    daemon.gate.clear()
    statuses: list[int] = []
    scrapers = [
        threading.Thread(target=lambda: statuses.append(daemon.ask("/metrics")[0]))
        for _ in range(daemon_http.MAX_REQUESTS)
    ]
    for scraper in scrapers:
        scraper.start()
    for _ in scrapers:
        assert daemon.scraping.acquire(timeout=_DEADLINE_S)

    assert daemon.ask("/metrics")[0] == 503
    assert daemon.ask("/healthz")[0] == daemon.ask("/readyz")[0] == 200

    daemon.gate.set()
    for scraper in scrapers:
        scraper.join(_DEADLINE_S)
    assert statuses == [200] * daemon_http.MAX_REQUESTS
    assert daemon.ask("/metrics")[0] == 200


def connected(daemon: Daemon) -> socket.socket:
    return socket.create_connection(("127.0.0.1", daemon.server.port), _DEADLINE_S)


@pytest.mark.parametrize(
    "begun", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nA: b\r\n"]
)
def test_who_does_not_finish_a_request_is_closed(daemon, monkeypatch, begun):
    monkeypatch.setattr(daemon_http, "TIMEOUT_S", 0.1)
    with connected(daemon) as silent:
        silent.sendall(begun)
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""


def test_who_sends_a_byte_now_and_then_is_closed_as_well(daemon, monkeypatch):
    monkeypatch.setattr(daemon_http, "TIMEOUT_S", 0.5)
    with connected(daemon) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # else it goes on for ever
            while True:
                slow.sendall(b"A: b\r\n")
                time.sleep(0.1)


@pytest.mark.slow
def test_who_does_not_take_its_reply_is_closed(daemon, monkeypatch):
    monkeypatch.setattr(daemon_http, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(daemon_http, "choose_encoder", lambda _: (lambda _: b"x" * 2**25, "text"))
    with connected(daemon) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert slow.recv(15, socket.MSG_PEEK) == b"HTTP/1.0 200 OK"
        threading.Event().wait(1.0)
        with contextlib.suppress(ConnectionResetError):
            taken = 0
            while data := slow.recv(2**20):
                taken += len(data)
            assert taken < 2**25


def test_slow_connections_make_room_for_the_next_ones(daemon):
    with contextlib.ExitStack() as held:
        slow = [
            held.enter_context(connected(daemon)) for _ in range(3 * daemon_http.MAX_CONNECTIONS)
        ]
        for one in slow:
            one.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        assert daemon.ask("/healthz")[0] == 200
        with contextlib.suppress(ConnectionResetError):
            assert slow[0].recv(1) == b"", "the oldest went"


def test_a_taken_port_is_one_line(daemon):
    second = HttpServer(
        "127.0.0.1",
        daemon.server.port,
        build_registry(daemon.status),
        health=list,
        readiness=list,
    )
    with pytest.raises(TrackdError, match=r"cannot listen on http://127\.0\.0\.1:\d+: address al"):
        second.start()
    second.stop()


def test_the_service_manager_is_told(tmp_path, monkeypatch):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(_DEADLINE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert notify("READY=1", "STATUS=2 streams")
        assert manager.recv(100) == b"READY=1\nSTATUS=2 streams"


def test_without_a_service_manager_nobody_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify("READY=1")
