"""Bytes of a source that are read here, for a decoder, in place of a location that FFmpeg opens."""

from typing import Protocol

from streams.net.patience import Patience
from streams.sources.base import Address
from streams.sources.multipart import MultipartReader

JPEG_START = b"\xff\xd8\xff"


class Body(Protocol):
    """Bytes that come one after the other.

    Attributes:
        patience: Bounds the waits for them.
    """

    patience: Patience

    def read(self, size: int) -> bytes:
        """The next bytes, at least one and at most so many; b"" at the end."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Feed(Body, Protocol):
    """A body, and what a decoder needs to know of it.

    Attributes:
        patience: To be renewed for each piece of work that the decoder begins.
        live: Whether they come at the pace of the world; None where the container has to say.
        format: FFmpeg's input format; None to detect it.
        name: For FFmpeg, which also looks at how a name ends.
    """

    name: str
    live: bool | None
    format: str | None


class PictureFeed:
    """JPEG pictures one by one, in the form that FFmpeg's `mpjpeg` takes without waiting."""

    name = "pictures"
    live: bool | None = True
    format: str | None = "mpjpeg"

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._pending = b""

    def _next(self) -> bytes | None:
        raise NotImplementedError

    def read(self, size: int) -> bytes:
        """The next bytes, at least one; b"" at the end."""
        if not self._pending:
            picture = self._next()
            if picture is None:
                return b""
            head = b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            self._pending = head % len(picture) + picture + b"\r\n"
        data, self._pending = self._pending[:size], self._pending[size:]
        return data


class MjpegFeed(PictureFeed):
    """The pictures of a `multipart/x-mixed-replace` body, or of one with nothing between them."""

    def __init__(self, body: Body, boundary: bytes, address: Address) -> None:
        super().__init__(body.patience)
        self._body = body
        self._reader = MultipartReader(body.read, boundary, address.shown)

    def _next(self) -> bytes | None:
        return self._reader.picture()

    def close(self) -> None:
        """Let go of the connection."""
        self._body.close()
