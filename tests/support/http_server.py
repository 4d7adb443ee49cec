"""A small HTTP server for tests: a function per path decides what a client gets."""

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

CHUNK = 4096


class Handler(http.server.BaseHTTPRequestHandler):
    """Calls the server's function for the path, without its query."""

    server: "Server"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.requests.append((self.path, dict(self.headers)))
        answer = self.server.answers.get(self.path.partition("?")[0])
        if answer is None:
            self.send_error(404)
        else:
            answer(self)

    def begin(self, kind: str | None, **headers: str) -> None:
        """Send the head; `Content_Length` in `headers` stands for Content-Length."""
        self.send_response(200)
        if kind is not None:
            self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, data: bytes, kind: str = "application/octet-stream", **headers: str) -> None:
        """Send all of it, with its length."""
        self.begin(kind, Content_Length=str(len(data)), **headers)
        self.wfile.write(data)

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, format: str, *args: object) -> None:
        pass


Answer = Callable[[Handler], None]


class Server(http.server.ThreadingHTTPServer):
    """Runs in the block; `requests` holds the path and the headers of each."""

    daemon_threads = True

    def __init__(
        self, answers: Mapping[str, Answer], context: ssl.SSLContext | None, ip: str
    ) -> None:
        super().__init__((ip, 0), Handler)
        self.answers = answers
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.ending = threading.Event()
        self.scheme = "http"
        if context is not None:
            self.scheme, self.socket = "https", context.wrap_socket(self.socket, server_side=True)

    @property
    def host(self) -> str:
        return f"{self.server_address[0]}:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients leave when they like


@contextmanager
def serving(
    answers: Mapping[str, Answer],
    *,
    context: ssl.SSLContext | None = None,
    ip: str = "127.0.0.1",
) -> Iterator[Server]:
    server = Server(answers, context, ip)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()


def with_length(data: bytes) -> Answer:
    return lambda handler: handler.send(data)


def chunked(data: bytes) -> Answer:
    """A body whose length nobody tells."""

    def answer(handler: Handler) -> None:
        handler.begin(None, Transfer_Encoding="chunked")
        for start in range(0, len(data), CHUNK):
            handler.chunk(data[start : start + CHUNK])
        handler.chunk(b"")

    return answer


def until_closed(data: bytes) -> Answer:
    """A body that ends with the connection."""

    def answer(handler: Handler) -> None:
        handler.begin(None, Connection="close")
        handler.wfile.write(data)

    return answer


def ranged(data: bytes) -> Answer:
    """A file of which a client may ask for parts."""

    def answer(handler: Handler) -> None:
        asked = handler.headers.get("Range")
        if asked is None:
            handler.send(data, Accept_Ranges="bytes")
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start:])

    return answer
