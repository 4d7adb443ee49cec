"""A stream over plain TCP, as `rpicam-vid -l -o tcp://…` and `ffmpeg … tcp://…?listen` send it."""

import io
import socket
from urllib.parse import urlsplit

from streams.access.hosts import HostAccess
from streams.net.patience import Patience, PatientReader
from streams.sources.base import Address
from streams.sources.feed import JPEG_START, Feed, MjpegFeed


def open_tcp_feed(
    address: Address, *, open_timeout_s: float, hosts: HostAccess | None = None
) -> Feed | None:
    """Connect, and look at what comes first.

    Args:
        address: Its address.
        open_timeout_s: Longest wait.
        hosts: Which may be reached; None for any.

    Returns:
        None where the address has a query: its options are for FFmpeg.

    Raises:
        OSError: It cannot be reached, or sends nothing.
    """
    url = urlsplit(address.location)
    if url.query or not url.port:
        return None
    patience = Patience(open_timeout_s)
    connect = socket.create_connection if hosts is None else hosts.connect
    sock = connect((url.hostname or "", url.port), patience.left_s())
    body = TcpBody(sock, patience)
    try:
        # FFmpeg takes seconds to recognise pictures with nothing between them, and delays each.
        return MjpegFeed(body, b"", address) if body.peek().startswith(JPEG_START) else body
    except BaseException:
        body.close()
        raise


class TcpBody:
    """Bytes that a TCP connection receives."""

    name = "body"
    live: bool | None = None
    format: str | None = None

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self.patience = patience
        self._reader = io.BufferedReader(PatientReader(sock, patience), 1 << 16)

    def peek(self) -> bytes:
        """The next bytes, which stay unread."""
        return self._reader.peek()

    def read(self, size: int) -> bytes:
        """The next bytes, at least one and at most so many; b"" at the end."""
        return self._reader.read1(size)

    def close(self) -> None:
        """Hang up."""
        self._reader.close()
