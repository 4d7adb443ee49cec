"""Metrics and health over HTTP, for programs on this machine.

asyncio's streams carry the connections and the standard library's parser reads the requests: three
pages that nobody writes to need no server package, and what protects them is a few lines.
"""

import asyncio
import contextlib
import io
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from tracker.errors import TrackdError

MAX_CONNECTIONS = 32
MAX_REQUESTS = 8
MAX_HEAD_BYTES = 16 * 1024
TIMEOUT_S = 5.0

_STOP_S = 1.0
_LOG = logging.getLogger("trackd.http")
_TEXT = "text/plain; charset=utf-8"
_HERE = re.compile(r"(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)

#: What is wrong, one line each; nothing where all is well.
Check = Callable[[], Sequence[str]]
_Page = tuple[HTTPStatus, str, bytes]


class HttpServer:
    """Serves `/metrics`, `/healthz` and `/readyz`.

    A request has `TIMEOUT_S` to arrive, however slowly its bytes come, and its reply as long to be
    taken. Of more than `MAX_CONNECTIONS` the one that is slow for longest is closed. Health is
    answered beside the scrapes, of which there are at most `MAX_REQUESTS` at a time. A request
    whose `Host` is not this machine is refused, so that no web page can read the answers through a
    name that points here.

    Args:
        host: A loopback address.
        port: 0 lets the system choose.
        registry: What `/metrics` shows.
        health: `/healthz` is 200 while it finds nothing wrong, else 503. It must not wait.
        readiness: Likewise for `/readyz`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        *,
        health: Check,
        readiness: Check,
    ) -> None:
        self._host = host
        self._port = port
        self._registry = registry
        self._checks = {"/healthz": health, "/readyz": readiness}
        self._listener: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._scrapers = ThreadPoolExecutor(MAX_REQUESTS, thread_name_prefix="scrape")
        self._scrapes = 0
        self._slow: dict[asyncio.Task[None], None] = {}  # that wait for a client; oldest first
        self._running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return self._port if self._listener is None else int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Listen, and answer in threads of its own.

        Raises:
            TrackdError: The port is taken.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._listener = socket.create_server((self._host, self._port), family=family)
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise TrackdError(
                f"cannot listen on http://{self._host}:{self._port}: {reason}",
                "choose another http.port, or 0 for none",
            ) from error
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; a request that is being answered is not waited for."""
        if self._thread.ident is not None:
            loop, ended = self._running.result()
            loop.call_soon_threadsafe(ended.set)
            self._thread.join(_STOP_S)
        self._scrapers.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        asyncio.run(self._listen())

    async def _listen(self) -> None:
        ended = asyncio.Event()
        assert self._listener is not None
        server = await asyncio.start_server(self._serve, sock=self._listener, limit=MAX_HEAD_BYTES)
        self._running.set_result((asyncio.get_running_loop(), ended))
        await ended.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection; whoever is slow is closed."""
        try:
            with self._slowly():
                head = await _read_head(reader)
            reply = await self._reply(head)
            with self._slowly():
                await _send(reply, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            _LOG.debug("a request over HTTP broke off")
        finally:
            writer.transport.abort()

    @contextlib.contextmanager
    def _slowly(self) -> Iterator[None]:
        """Within the block the connection waits for its client, and is closed for want of room."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._slow) >= MAX_CONNECTIONS:
            next(iter(self._slow)).cancel()
        self._slow[task] = None
        try:
            yield
        finally:
            del self._slow[task]

    async def _reply(self, head: bytes) -> bytes:
        request = _Request(head)
        if request.refusal is not None:
            page = request.refusal
        elif request.resource == "/metrics":
            page = await self._scrape(request.headers.get("Accept", ""))
        else:
            page = self._checked(request.resource)
        return request.answered(page)

    async def _scrape(self, accept: str) -> _Page:
        if self._scrapes >= MAX_REQUESTS:
            return _unavailable("as many scrapes as there may be are in progress")
        encode, content_type = choose_encoder(accept)
        self._scrapes += 1
        try:
            loop = asyncio.get_running_loop()
            body = await loop.run_in_executor(self._scrapers, encode, self._registry)
        except Exception:
            _LOG.exception("cannot answer /metrics")
            return HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, b"it failed; see the log\n"
        finally:
            self._scrapes -= 1
        return HTTPStatus.OK, content_type, body

    def _checked(self, resource: str) -> _Page:
        check = self._checks.get(resource)
        if check is None:
            return HTTPStatus.NOT_FOUND, _TEXT, b"see /metrics, /healthz, /readyz\n"
        problems = check()
        return _unavailable(*problems) if problems else (HTTPStatus.OK, _TEXT, b"ok\n")


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """A request up to its empty line, or what there was of it before it became too long.

    Raises:
        TimeoutError: It did not come in time.
    """
    head = b""
    async with asyncio.timeout(TIMEOUT_S):
        while len(head) <= MAX_HEAD_BYTES:
            try:
                line = await reader.readline()
            except ValueError:  # a longer line than the reader's limit
                return head + b"x" * MAX_HEAD_BYTES
            head += line
            if line in (b"\r\n", b"\n", b""):
                break
    return head


async def _send(reply: bytes, writer: asyncio.StreamWriter) -> None:
    """Send it and close; it was handed over when this returns.

    Raises:
        TimeoutError: It was not taken in time.
    """
    async with asyncio.timeout(TIMEOUT_S):
        writer.write(reply)
        writer.close()
        await writer.wait_closed()


def _unavailable(*problems: str) -> _Page:
    lines = "".join(f"no: {problem}\n" for problem in problems)
    return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, lines.encode()


class _Request(BaseHTTPRequestHandler):
    """The standard library's parser and formatter, on bytes instead of a socket.

    Attributes:
        resource: The path without its query.
        refusal: The page for a request that is not served; None where it is.
    """

    default_request_version = "HTTP/1.0"

    def __init__(self, head: bytes) -> None:
        self.resource = ""
        self.refusal: _Page | None = None
        self.command = ""
        if len(head) > MAX_HEAD_BYTES:
            self.request_version = self.default_request_version
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        self.rfile = io.BytesIO(head)
        self.raw_requestline = self.rfile.readline()
        if not self.parse_request():
            return
        self.resource = self.path.partition("?")[0]
        host = self.headers.get("Host")
        if self.command not in ("GET", "HEAD"):
            self.send_error(HTTPStatus.NOT_IMPLEMENTED)
        elif host is not None and not _HERE.fullmatch(host):
            self.refusal = HTTPStatus.MISDIRECTED_REQUEST, _TEXT, b"for this machine only\n"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that the base class finds wrong; says nothing of what was sent."""
        self.refusal = HTTPStatus(code), _TEXT, b""

    def answered(self, page: _Page) -> bytes:
        """The whole reply."""
        status, content_type, body = page
        self.wfile = io.BytesIO()
        self.send_response_only(status)  # without the names and versions of what serves
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        return self.wfile.getvalue() + (b"" if self.command == "HEAD" else body)
