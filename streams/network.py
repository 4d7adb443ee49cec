"""Opens network sources, by the ways in which cameras and servers answer."""

import errno
import threading
from dataclasses import replace

from streams.address import Address
from streams.av_source import AvSource
from streams.errors import SourceTimeout, SourceTooLarge, SourceUnreadable, StreamError
from streams.feed import Feed
from streams.foreign import translated
from streams.http_source import HttpBody, SnapshotFeed, open_feed
from streams.tcp_source import open_tcp_feed


def open_network(
    address: Address,
    *,
    stream: str,
    open_timeout_s: float,
    read_timeout_s: float,
    poll_stills: bool,
    stop: threading.Event | None,
    max_pixels: int,
) -> AvSource:
    """Open a source of the network; see `streams.open_source`.

    Raises:
        StreamError: It cannot be opened.
    """

    def opened(address: Address) -> AvSource:
        return AvSource(
            address,
            stream=stream,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
            max_pixels=max_pixels,
        )

    if address.scheme in ("rtsp", "rtsps"):
        try:
            return opened(address)
        except StreamError as error:
            if address.settings.rtsp_transport not in (None, "auto") or not _sends_not(error):
                raise
        options = dict(address.options) | {"rtsp_transport": "udp"}
        return opened(replace(address, options=options))
    feed = None
    with translated(address, open_timeout_s):
        if address.scheme in ("http", "https"):
            feed = open_feed(
                address, open_timeout_s=open_timeout_s, poll_stills=poll_stills, stop=stop
            )
            address = replace(address, format=None if feed else "hls")
        elif address.scheme == "tcp":
            feed = open_tcp_feed(address, open_timeout_s=open_timeout_s)
    if feed is None:
        return opened(address)
    try:
        return AvSource(
            address,
            stream=stream,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s + (feed.poll_s if isinstance(feed, SnapshotFeed) else 0),
            feed=feed,
            max_pixels=max_pixels,
        )
    except BaseException as error:
        feed.close()
        if isinstance(error, SourceTooLarge):
            raise
        if isinstance(error, SourceUnreadable) and _must_seek(feed):
            raise SourceUnreadable(
                f"the index (moov) of {address.shown} comes last, and the server gives no parts",
                "copy the file here, or write it with ffmpeg -movflags +faststart",
            ) from error
        raise


def _must_seek(feed: Feed) -> bool:
    return isinstance(feed, HttpBody) and feed.is_mp4 and not (feed.seekable() or feed.lost)


def _sends_not(error: StreamError) -> bool:
    """Whether a camera refused to send over TCP (461), or sent nothing."""
    refused = getattr(error.__cause__, "errno", None) == errno.EPROTONOSUPPORT
    return refused or isinstance(error, SourceTimeout)
