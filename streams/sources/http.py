"""HTTP sources: MJPEG and polled pictures of cameras, streams, and files, as bytes to decode."""

import re
import threading
import time
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from streams.access.hosts import HostAccess
from streams.errors import SourceUnreadable
from streams.net.http_client import HttpClient, NotModified
from streams.net.patience import Patience
from streams.sources.base import Address
from streams.sources.feed import JPEG_START, Feed, MjpegFeed, PictureFeed
from streams.sources.multipart import MAX_PICTURE_BYTES, boundary_of
from streams.sources.playlist import Playlist

DEFAULT_POLL_S = 1.0
_PIECE = 1 << 15
# What is looked at of a body whose length the server does not say. No camera sends as fast.
_LOOK_S, _LOOK_BYTES = 1.0, 16 * 2**20
_SNIFFED_BYTES = 256
_TEXT_KINDS = ("text/html", "application/xhtml+xml", "application/json", "text/xml")
_PAGE_STARTS = (b"<!doctype html", b"<html", b"<head", b"<script", b"<?xml")
_PLAYLIST = b"#extm3u"


def open_feed(
    address: Address,
    *,
    open_timeout_s: float,
    poll_stills: bool,
    stop: threading.Event | None = None,
    hosts: HostAccess | None = None,
) -> Feed | Playlist:
    """Ask an HTTP server what it has, and return how to read it.

    Args:
        address: Its address.
        open_timeout_s: Longest wait for the answer.
        poll_stills: Whether a JPEG is asked for again and again, as of a camera.
        stop: Ends the wait before a picture is asked for again; may be set by any thread.
        hosts: Which may be reached; None for any.

    Raises:
        StreamError: The server refuses, or has no video there.
        OSError: It cannot be reached, or does not answer.
    """
    client = HttpClient(address, Patience(open_timeout_s), hosts)
    body = HttpBody(client, client.get())
    try:
        return _classified(client, body, poll_stills, stop or threading.Event())
    except BaseException:
        body.close()
        raise


def _classified(
    client: HttpClient, body: "HttpBody", poll_stills: bool, stop: threading.Event
) -> Feed | Playlist:
    if body.kind.startswith("multipart/"):
        return MjpegFeed(body, boundary_of(body.content_type), client.address)
    head = body.peek(_SNIFFED_BYTES)
    body.is_mp4 = head[4:8] == b"ftyp"
    head = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    start = head.lower()
    if start.startswith(b"--") and b"content-type" in start:  # some do not name what they send
        return MjpegFeed(body, b"", client.address)
    if start.startswith(_PLAYLIST):
        body.close()
        return Playlist(body.moved_to or client.address.location)
    is_text = body.kind in _TEXT_KINDS and all(byte < 0x80 for byte in head)
    if is_text or start.startswith(_PAGE_STARTS):
        raise SourceUnreadable(
            f"the server sent a web page, not a video: {client.address.shown}",
            "check the path; if the page asks for a login, give http://user:password@host/…",
        )
    if head.startswith(JPEG_START) and _is_polled(client.address, poll_stills):
        return SnapshotFeed(client, body, stop)
    body.look()
    if body.live is None and head.startswith(JPEG_START):  # pictures with nothing between them
        return MjpegFeed(body, b"", client.address)
    return body


def _is_polled(address: Address, poll_stills: bool) -> bool:
    settings = address.settings
    if settings.poll_s is not None or settings.live is not None:
        return settings.live is not False
    return poll_stills


class HttpBody:
    """The body of a response as a file, seekable where the server gives ranges of it.

    Attributes:
        content_type: As the server names it.
        kind: Its media type, in lower case.
        tag: Its `ETag`.
        is_mp4: Whether it begins as an MP4 does.
        lost: Whether the connection broke before its end.
        moved_to: The URL that redirects led to; "" where there were none.
    """

    def __init__(self, client: HttpClient, response: HTTPResponse) -> None:
        ending = Path(urlsplit(client.address.location).path).suffix
        self.name = f"body{ending}" if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", ending) else "body"
        self.patience = client.patience
        self.live: bool | None = None
        self.format: str | None = None
        self.content_type = response.headers.get("Content-Type", "")
        self.kind = response.headers.get_content_type() if self.content_type else ""
        self.is_mp4 = False
        self.lost = False
        self.tag = response.headers.get("ETag")
        self.moved_to = "" if response.url == client.url else response.url
        self._client = client
        self._response: HTTPResponse | None = response
        self._size = response.length
        self._has_ranges = response.headers.get("Accept-Ranges", "").strip().lower() == "bytes"
        self._position = 0
        self._ahead = bytearray()  # read, but not given yet
        self._ended = False

    @property
    def size_bytes(self) -> int | None:
        """Bytes in all; None where the server does not say."""
        return self._size

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay unread; fewer than `size` only at the end."""
        while len(self._ahead) < size and not self._ended:
            self._ahead += self._receive(size)
        return bytes(self._ahead[:size])

    def look(self) -> None:
        """Find out whether a body whose length is not known is that of a file.

        It is where it ends at once, or comes faster than any camera sends.
        """
        if self._size is None:
            until_s = time.monotonic() + _LOOK_S
            while not self._ended and time.monotonic() < until_s and self.live is None:
                self._ahead += self._receive(_PIECE)
                self.live = False if len(self._ahead) > _LOOK_BYTES else None
        if self._size is not None or self._ended:
            self.live = False

    def read(self, size: int) -> bytes:
        """The next bytes, at least one; b"" at the end."""
        if self._ahead:
            data = bytes(self._ahead[:size])
            del self._ahead[:size]
        else:
            data = self._receive(size)
        self._position += len(data)
        return data

    def seekable(self) -> bool:
        """True where `seek` works."""
        return self._has_ranges and self._size is not None

    def tell(self) -> int:
        """The position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to another byte; the server is asked for it when it is read."""
        target = offset + (0, self._position, self._size or 0)[whence]
        if target != self._position:
            self._ahead.clear()
            self._position = target
            self.close()
        return target

    def close(self) -> None:
        """Let go of the connection; `read` makes another one."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def _receive(self, size: int) -> bytes:
        at = self._position + len(self._ahead)
        if self._size is not None and at >= self._size:
            self._ended = True
            return b""
        response = self._response or self._asked_from(at)
        try:
            data = response.read1(min(size, _PIECE))
        except HTTPException:
            raise self._broken(at) from None
        if not data:
            self._ended = True
            if self._size is not None:
                raise self._broken(at)
        return data

    def _asked_from(self, at: int) -> HTTPResponse:
        response = self._client.get({"Range": f"bytes={at}-"})
        if response.status != 206:
            response.close()
            raise SourceUnreadable(
                f"the server does not give parts of {self._client.address.shown}",
                "copy the file here",
            )
        self._response, self._ended = response, False
        return response

    def _broken(self, at: int) -> SourceUnreadable:
        self.lost = True
        of = "" if self._size is None else f" of {self._size}"
        return SourceUnreadable(
            f"the connection to {self._client.address.shown} broke after {at}{of} bytes",
            "check the network and the server",
        )


class SnapshotFeed(PictureFeed):
    """A JPEG address of a camera, asked again and again at a pace.

    A picture that is the same as the one before is given again only as a sign of life: where
    there was no other in half of the time that a reader waits.
    """

    def __init__(self, client: HttpClient, body: HttpBody, stop: threading.Event) -> None:
        super().__init__(client.patience)
        self.poll_s = client.address.settings.poll_s or DEFAULT_POLL_S
        self._client = client
        self._first: HttpBody | None = body
        self._stop = stop
        self._due_s = time.monotonic()
        self._given_s = 0.0
        self._picture = b""
        self._tag: str | None = None

    def _next(self) -> bytes | None:
        patience_s = self.patience.left_s()
        while not self._stop.wait(max(0.0, self._due_s - time.monotonic())):
            self.patience.renew(patience_s)
            self._due_s = max(self._due_s + self.poll_s, time.monotonic())
            before, self._picture = self._picture, self._polled()
            now_s = time.monotonic()
            if self._picture != before or now_s - self._given_s > patience_s / 2:
                self._given_s = now_s
                return self._picture
        return None

    def _polled(self) -> bytes:
        body, self._first = self._first, None
        if body is None:
            headers = {"If-None-Match": self._tag} if self._tag else {}
            try:
                body = HttpBody(self._client, self._client.get(headers))
            except NotModified:
                return self._picture
        try:
            self._tag = body.tag
            return self._whole(body)
        finally:
            body.close()

    def _whole(self, body: HttpBody) -> bytes:
        picture = bytearray()
        while data := body.read(_PIECE):
            picture += data
            if len(picture) > MAX_PICTURE_BYTES:
                break
        if not picture.startswith(JPEG_START) or len(picture) > MAX_PICTURE_BYTES:
            kind = body.kind or "something else"
            raise SourceUnreadable(
                f"no picture from {self._client.address.shown}, but {kind}",
                "check the path and the login",
            )
        return bytes(picture)

    def close(self) -> None:
        """Let go of the first answer, if it was not read."""
        if self._first is not None:
            self._first.close()
