"""Pieces of playlists (HLS), fetched here: FFmpeg would connect to any host that one names."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

from streams.access.hosts import HostAccess
from streams.errors import SourceDenied, SourceUnreadable
from streams.net.http_client import HttpClient
from streams.net.patience import Patience
from streams.sources.base import Address


@dataclass(frozen=True, slots=True)
class Playlist:
    """An HTTP address that turned out to be a playlist.

    Attributes:
        location: Where it is, once redirects were followed. Holds credentials: never show it.
    """

    location: str


class Piece:
    """The body of a response, for a decoder."""

    def __init__(self, response: HTTPResponse, shown: str) -> None:
        self._response = response
        self._shown = shown

    def read(self, size: int) -> bytes:
        """The next bytes, at least one; b"" at the end."""
        try:
            return self._response.read1(size)
        except HTTPException:
            raise SourceUnreadable(f"a piece of {self._shown} ended early") from None

    def close(self) -> None:
        """Let go of the connection."""
        self._response.close()


class PieceOpener:
    """Opens what FFmpeg asks for while it reads a playlist, from hosts that are allowed.

    Args:
        address: Of the playlist.
        timeout_s: Longest wait for a piece.
        hosts: Which hosts.
    """

    def __init__(self, address: Address, timeout_s: float, hosts: HostAccess) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._hosts = hosts

    def __call__(self, url: str, flags: int, options: Mapping[str, str]) -> Piece:
        """Fetch a piece, or the part of it that `options` name.

        Raises:
            StreamError: It is not one of HTTP, may not be reached, or the server refuses.
            OSError: It cannot be reached.
        """
        shown = self._address.shown
        if url.startswith("crypto"):
            hint = "name it in the daemon's configuration, or take another stream"
            raise SourceUnreadable(f"the pieces of {shown} are encrypted", hint)
        if urlsplit(url).scheme not in ("http", "https"):
            raise SourceDenied(f"the playlist {shown} names something else than http")
        wanted = _range(options)
        client = HttpClient(
            replace(self._address, location=url), Patience(self._timeout_s), self._hosts
        )
        response = client.get(wanted)
        if wanted and response.status != 206:
            response.close()
            raise SourceUnreadable(f"the server gives no parts of the pieces of {shown}")
        return Piece(response, shown)


def _range(options: Mapping[str, str]) -> dict[str, str]:
    start, end = int(options.get("offset", 0)), int(options.get("end_offset", 0))
    if not start and not end:
        return {}
    return {"Range": f"bytes={start}-{end - 1 if end else ''}"}
