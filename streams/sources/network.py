"""Opens network sources, by the ways in which cameras and servers answer."""

import errno
from dataclasses import replace

from streams.access.formats import PLAYLIST
from streams.access.hosts import ANY_HOST, HostAccess
from streams.decode.ffmpeg_errors import translated
from streams.errors import SourceTimeout, SourceTooLarge, SourceUnreadable, StreamError
from streams.sources.base import Address, OpenOptions
from streams.sources.feed import Feed
from streams.sources.ffmpeg import AvSource, OpenPiece
from streams.sources.http import HttpBody, SnapshotFeed, open_feed
from streams.sources.playlist import PieceOpener, Playlist
from streams.sources.tcp import open_tcp_feed


def open_rtsp(address: Address, asked: OpenOptions) -> AvSource:
    """Open a camera by RTSP: ask it for TCP and, where it refuses or sends nothing, for UDP.

    Raises:
        StreamError: It cannot be opened, or may not be.
    """
    try:
        return open_with_ffmpeg(address, asked)
    except StreamError as error:
        may_not = asked.policy is not None and not asked.policy.hosts.rules.may_listen
        transport = address.settings.rtsp_transport
        if may_not or transport not in (None, "auto") or not _sends_not(error):
            raise
    options = dict(address.options) | {"rtsp_transport": "udp"}
    return open_with_ffmpeg(replace(address, options=options), asked)


def open_http(address: Address, asked: OpenOptions) -> AvSource:
    """Open what an HTTP server gives: a video, MJPEG, a JPEG again and again, or a playlist.

    Raises:
        StreamError: It cannot be opened, or may not be.
    """
    with translated(address, asked.open_timeout_s):
        feed = open_feed(
            address,
            open_timeout_s=asked.open_timeout_s,
            poll_stills=asked.poll_stills,
            stop=asked.stop,
            hosts=_hosts(asked),
        )
    if isinstance(feed, Playlist):
        return _open_playlist(address, feed, asked)
    return _open_with_feed(address, feed, asked)


def open_tcp(address: Address, asked: OpenOptions) -> AvSource:
    """Open a stream over plain TCP.

    Raises:
        StreamError: It cannot be opened, or may not be.
    """
    with translated(address, asked.open_timeout_s):
        feed = open_tcp_feed(address, open_timeout_s=asked.open_timeout_s, hosts=_hosts(asked))
    return _open_with_feed(address, feed, asked)


def open_with_ffmpeg(address: Address, asked: OpenOptions) -> AvSource:
    """Open what FFmpeg connects to by itself.

    Raises:
        StreamError: It cannot be opened, or may not be.
    """
    if asked.policy is not None:
        with translated(address, asked.open_timeout_s):
            address = asked.policy.for_ffmpeg(address)
    return _open_checked(address, asked)


def _open_checked(
    address: Address, asked: OpenOptions, open_piece: OpenPiece | None = None
) -> AvSource:
    """Have FFmpeg open an address that the policy allows as it is."""
    return AvSource(
        address,
        stream=asked.stream,
        open_timeout_s=asked.open_timeout_s,
        read_timeout_s=asked.read_timeout_s,
        open_piece=open_piece,
        max_pixels=asked.max_pixels,
        tap=asked.tap,
    )


def _open_with_feed(address: Address, feed: Feed | None, asked: OpenOptions) -> AvSource:
    """Have FFmpeg decode what is read here; without a feed it reads, too."""
    if feed is None:
        return open_with_ffmpeg(address, asked)
    poll_s = feed.poll_s if isinstance(feed, SnapshotFeed) else 0.0
    try:
        return AvSource(
            address,
            stream=asked.stream,
            open_timeout_s=asked.open_timeout_s,
            read_timeout_s=asked.read_timeout_s + poll_s,
            feed=feed,
            max_pixels=asked.max_pixels,
            tap=asked.tap,
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


def _open_playlist(address: Address, playlist: Playlist, asked: OpenOptions) -> AvSource:
    """Open a playlist: where all hosts may be reached, FFmpeg fetches and decrypts the pieces."""
    address = replace(address, format="hls", formats=PLAYLIST)
    hosts = _hosts(asked)
    if hosts is None or hosts.rules == ANY_HOST:
        return _open_checked(address, asked)
    opener = PieceOpener(address, asked.read_timeout_s, hosts)
    options = dict(address.options) | {"http_persistent": "0"}  # that is for its own connections
    moved = replace(address, location=playlist.location, options=options)
    return _open_checked(moved, asked, opener)


def _hosts(asked: OpenOptions) -> HostAccess | None:
    return None if asked.policy is None else asked.policy.hosts


def _must_seek(feed: Feed) -> bool:
    return isinstance(feed, HttpBody) and feed.is_mp4 and not (feed.seekable() or feed.lost)


def _sends_not(error: StreamError) -> bool:
    """True where a camera refused to send over TCP (461), or sent nothing."""
    refused = getattr(error.__cause__, "errno", None) == errno.EPROTONOSUPPORT
    return refused or isinstance(error, SourceTimeout)
