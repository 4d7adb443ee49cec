"""Metrics and health over HTTP, for programs on this machine."""

import logging
import re
import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from tracker.errors import TrackdError

MAX_REQUESTS = 8
TIMEOUT_S = 5.0

_STOP_WITHIN_S = 0.1
_LOG = logging.getLogger("trackd.http")
_TEXT = "text/plain; charset=utf-8"
_HERE = re.compile(r"(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)


class HttpServer:
    """Serves `/metrics`, `/healthz` and `/readyz`.

    At most `MAX_REQUESTS` at a time; what comes on top is closed unanswered, and whoever says
    nothing for `TIMEOUT_S` is closed as well. A request whose `Host` is not this machine is
    refused, so that no web page can read the answers through a name that points here.

    Args:
        host: A loopback address.
        port: 0 lets the system choose.
        registry: What `/metrics` shows.
        healthy: `/healthz` is 200 while it is true, else 503.
        ready: Likewise for `/readyz`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        *,
        healthy: Callable[[], bool],
        ready: Callable[[], bool],
    ) -> None:
        self._host = host
        self._port = port
        self._pages = _Pages(registry, healthy, ready)
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port if self._server is None else int(self._server.server_address[1])

    def start(self) -> None:
        """Listen, and answer in threads of its own.

        Raises:
            TrackdError: The port is taken.
        """
        try:
            self._server = _Server(self._host, self._port, self._pages)
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise TrackdError(
                f"cannot listen on http://{self._host}:{self._port}: {reason}",
                "choose another http.port, or 0 for none",
            ) from error
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(_STOP_WITHIN_S,), name="http", daemon=True).start()

    def stop(self) -> None:
        """Stop listening; a request that is being answered is not waited for."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Pages:
    """From a path to status, content type and body."""

    def __init__(
        self,
        registry: CollectorRegistry,
        healthy: Callable[[], bool],
        ready: Callable[[], bool],
    ) -> None:
        self._registry = registry
        self._checks = {"/healthz": healthy, "/readyz": ready}

    def get(self, path: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return HTTPStatus.OK, content_type, encode(self._registry)
        check = self._checks.get(path)
        if check is None:
            return HTTPStatus.NOT_FOUND, _TEXT, b"see /metrics, /healthz, /readyz\n"
        if check():
            return HTTPStatus.OK, _TEXT, b"ok\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"no\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, pages: _Pages) -> None:
        self.pages = pages
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._room = threading.BoundedSemaphore(MAX_REQUESTS)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # The base class also looks up the host's full name, which can take seconds.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _LOG.debug("a request over HTTP broke off", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        host = self.headers.get("Host")
        if host is not None and not _HERE.fullmatch(host):
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, _TEXT, b"for this machine only\n")
            return
        path = self.path.partition("?")[0]
        try:
            page = self.server.pages.get(path, self.headers.get("Accept", ""))
        except Exception:
            _LOG.exception("cannot answer %s", path)
            page = HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, b"a bug; see the log\n"
        self._answer(*page)

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response_only(status)  # without the names and versions of what serves
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class finds wrong with a request; says nothing of what was sent."""
        self._answer(HTTPStatus(code), _TEXT, b"")

    def log_message(self, format: str, *args: Any) -> None:
        _LOG.debug("%s", format % args)
