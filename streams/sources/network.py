"""Opens network sources, by the ways in which cameras and servers answer."""

import errno
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from streams.access.formats import PLAYLIST
from streams.access.hosts import ANY_HOST, HostAccess
from streams.access.policy import SourcePolicy
from streams.address import Address
from streams.decode.ffmpeg_errors import translated
from streams.errors import SourceTimeout, SourceTooLarge, SourceUnreadable, StreamError
from streams.sources.feed import Feed
from streams.sources.ffmpeg import AvSource, OpenPiece
from streams.sources.http import HttpBody, SnapshotFeed, open_feed
from streams.sources.playlist import PieceOpener, Playlist
from streams.sources.tcp import open_tcp_feed


def open_network(
    address: Address,
    *,
    stream: str,
    open_timeout_s: float,
    read_timeout_s: float,
    poll_stills: bool,
    stop: threading.Event | None,
    max_pixels: int,
    policy: SourcePolicy | None = None,
) -> AvSource:
    """Open a source of the network; see `streams.open_source`.

    Raises:
        StreamError: It cannot be opened.
    """
    open_with_ffmpeg = partial(
        _open_with_ffmpeg,
        stream=stream,
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        policy=policy,
        max_pixels=max_pixels,
    )
    if address.scheme in ("rtsp", "rtsps"):
        return _open_rtsp(address, open_with_ffmpeg, policy)
    hosts = None if policy is None else policy.hosts
    with translated(address, open_timeout_s):
        feed = _feed(address, open_timeout_s, poll_stills, stop, hosts)
    if feed is None:
        return open_with_ffmpeg(address)
    if isinstance(feed, Playlist):
        return _open_playlist(address, feed, open_with_ffmpeg, hosts, read_timeout_s)
    poll_s = feed.poll_s if isinstance(feed, SnapshotFeed) else 0.0
    try:
        return AvSource(
            address,
            stream=stream,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s + poll_s,
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


def _feed(
    address: Address,
    open_timeout_s: float,
    poll_stills: bool,
    stop: threading.Event | None,
    hosts: HostAccess | None,
) -> Feed | Playlist | None:
    """What is read here and not by FFmpeg; None for nothing."""
    if address.scheme in ("http", "https"):
        return open_feed(
            address, open_timeout_s=open_timeout_s, poll_stills=poll_stills, stop=stop, hosts=hosts
        )
    if address.scheme == "tcp":
        return open_tcp_feed(address, open_timeout_s=open_timeout_s, hosts=hosts)
    return None


def _open_with_ffmpeg(
    address: Address,
    *,
    stream: str,
    open_timeout_s: float,
    read_timeout_s: float,
    policy: SourcePolicy | None,
    max_pixels: int,
    open_piece: OpenPiece | None = None,
) -> AvSource:
    if policy is not None and open_piece is None:
        with translated(address, open_timeout_s):
            address = policy.for_ffmpeg(address)
    return AvSource(
        address,
        stream=stream,
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        open_piece=open_piece,
        max_pixels=max_pixels,
    )


def _open_rtsp(
    address: Address, open_with_ffmpeg: Callable[..., AvSource], policy: SourcePolicy | None
) -> AvSource:
    """Ask a camera for TCP and, where it refuses or sends nothing, for UDP."""
    try:
        return open_with_ffmpeg(address)
    except StreamError as error:
        may_not = policy is not None and not policy.hosts.rules.may_listen
        asked = address.settings.rtsp_transport
        if may_not or asked not in (None, "auto") or not _sends_not(error):
            raise
    options = dict(address.options) | {"rtsp_transport": "udp"}
    return open_with_ffmpeg(replace(address, options=options))


def _open_playlist(
    address: Address,
    playlist: Playlist,
    open_with_ffmpeg: Callable[..., AvSource],
    hosts: HostAccess | None,
    read_timeout_s: float,
) -> AvSource:
    """Where all hosts may be reached, FFmpeg fetches the pieces, and decrypts them if need be."""
    address = replace(address, format="hls", formats=PLAYLIST)
    if hosts is None or hosts.rules == ANY_HOST:
        return open_with_ffmpeg(address, policy=None)
    opener = PieceOpener(address, read_timeout_s, hosts)
    options = dict(address.options) | {"http_persistent": "0"}  # that is for its own connections
    moved = replace(address, location=playlist.location, options=options)
    return open_with_ffmpeg(moved, open_piece=opener)


def _must_seek(feed: Feed) -> bool:
    return isinstance(feed, HttpBody) and feed.is_mp4 and not (feed.seekable() or feed.lost)


def _sends_not(error: StreamError) -> bool:
    """Whether a camera refused to send over TCP (461), or sent nothing."""
    refused = getattr(error.__cause__, "errno", None) == errno.EPROTONOSUPPORT
    return refused or isinstance(error, SourceTimeout)
