"""Registry of sources: one row for each kind of address, from its text to an open source.

The openers are imported when a source is opened: whoever only parses addresses decodes nothing.
"""

import os
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from streams.access.formats import SELF_CONTAINED
from streams.errors import SourceUsageError
from streams.info import MAX_PIXELS, SourceInfo, SourceStats
from streams.options import SourceOptions
from streams.redaction import looks_like_address, redact
from streams.sources.base import PROBE, Address, OpenOptions, Scheme, Source, SourceKind
from streams.sources.camera import is_camera, parse_camera
from streams.sources.paths import is_file_url, parse_file_url, parse_path
from streams.sources.pattern import is_pattern, parse_pattern
from streams.sources.urls import UrlRules, scheme_of, url_scheme

if TYPE_CHECKING:
    from streams.access.policy import SourcePolicy
    from streams.packet_tap import PacketTap

__all__ = ["Source", "SourceInfo", "SourceOptions", "SourceStats", "find_scheme", "open_source"]

_ELSEWHERE = {
    "srt": "this build of FFmpeg has no SRT; relay it, for example "
    "ffmpeg -i srt://… -c copy -f mpegts udp://127.0.0.1:5000",
    "ftp": "copy the file here, or serve it over http",
    "sftp": "copy the file here, or mount the folder",
    "smb": "mount the share and give the path",
    "rtmpe": "use rtmps://",
    "onvif": "give the rtsp:// address that the camera's ONVIF profile names",
    "webrtc": "relay it as rtsp://, for example with MediaMTX",
}


def _open_path(address: Address, asked: OpenOptions) -> Source:
    from streams.sources.files import open_path

    return open_path(address, asked)


def _open_rtsp(address: Address, asked: OpenOptions) -> Source:
    from streams.sources.network import open_rtsp

    return open_rtsp(address, asked)


def _open_http(address: Address, asked: OpenOptions) -> Source:
    from streams.sources.network import open_http

    return open_http(address, asked)


def _open_tcp(address: Address, asked: OpenOptions) -> Source:
    from streams.sources.network import open_tcp

    return open_tcp(address, asked)


def _open_with_ffmpeg(address: Address, asked: OpenOptions) -> Source:
    from streams.sources.network import open_with_ffmpeg

    return open_with_ffmpeg(address, asked)


def _open_device(address: Address, asked: OpenOptions) -> Source:
    from streams.sources.device import open_device

    return open_device(address, asked)


def _refuse(url: str, settings: SourceOptions, platform: str) -> NoReturn:
    scheme = scheme_of(url)
    hint = _ELSEWHERE.get(scheme, f"give {examples()}")
    raise SourceUsageError(f"unknown kind of source {scheme}://: {redact(url)}", hint)


_LIVE = PROBE | {"live"}
_TLS = _LIVE | {"tls_verify"}
# Not rtsp: so FFmpeg follows no redirect, which could lead anywhere.
_RTSP = UrlRules(
    "rtsp",
    _TLS | {"rtsp_transport", "user_agent"},
    "rtp,srtp,udp,tcp,tls",
    554,
    "rtsp",
    formats="rtsp,asf",
)
_HTTP = UrlRules(
    "http",
    _TLS | {"poll_s", "user_agent"},
    "http,https,httpproxy,tcp,tls,crypto",
    80,
    verifies=True,
)
_DATAGRAMS = {"overrun_nonfatal": "1"}  # a tracker that is slow for a while loses data, not all
_RTMP_PROBE = {"analyzeduration": "2000000"}  # else it waits for sound that does not come
_RTMP = UrlRules("rtmp", _LIVE, "rtmp,tcp", 1935, "live_flv", _RTMP_PROBE)
_RTMPS = UrlRules("rtmps", _TLS, "rtmps,tls,tcp", 443, "live_flv", _RTMP_PROBE)
_UDP = UrlRules("udp", _LIVE, "udp", options=_DATAGRAMS)
_RTP = UrlRules(
    "rtp",
    _LIVE,
    "rtp,udp",
    formats=f"rtp,{SELF_CONTAINED}",
    no_video_hint="rtp:// is for MPEG-TS; take other streams by rtsp://",
)
_PATH = Scheme(SourceKind.PATH, "", lambda url: True, parse_path, _open_path)
_FILES = "a file, an image folder, file:"

#: The first row that claims an address has it; what none claims is a path.
SCHEMES: tuple[Scheme, ...] = (
    replace(
        _PATH, example="a file, an image folder, file:", claims=is_file_url, parse=parse_file_url
    ),
    url_scheme(_RTSP, _open_rtsp, "rtsp(s)://"),
    url_scheme(replace(_RTSP, name="rtsps", port=322), _open_rtsp),
    url_scheme(_HTTP, _open_http, "http(s)://"),
    url_scheme(replace(_HTTP, name="https", port=443), _open_http),
    url_scheme(_RTMP, _open_with_ffmpeg, "rtmp(s)://"),
    url_scheme(_RTMPS, _open_with_ffmpeg),
    url_scheme(_UDP, _open_with_ffmpeg, "udp://"),
    url_scheme(_RTP, _open_with_ffmpeg, "rtp://"),
    url_scheme(UrlRules("tcp", _LIVE, "tcp"), _open_tcp, "tcp://"),
    Scheme(SourceKind.NETWORK, "", lambda url: scheme_of(url) != "", _refuse, _open_with_ffmpeg),
    Scheme(SourceKind.CAMERA, "webcam:0", is_camera, parse_camera, _open_device),
    Scheme(SourceKind.PATTERN, "lavfi:PATTERN", is_pattern, parse_pattern, _open_device),
)


def examples() -> str:
    """All kinds of addresses, as people write them."""
    *most, last = (scheme.example for scheme in SCHEMES if scheme.example)
    return f"{', '.join(most)} or {last}"


def find_scheme(url: str) -> Scheme:
    """The row of an address.

    By its text alone, unless that looks like a misspelt address: then it is a path if it is there.

    Raises:
        SourceUsageError: It is empty, or neither an address nor a path.
    """
    if not url.strip():
        raise SourceUsageError("the source is empty", f"give {examples()}")
    for scheme in SCHEMES:
        if scheme.claims(url):
            return scheme
    # Taken for a path it would be shown with the password in it.
    if looks_like_address(url) and not os.path.lexists(url):
        raise SourceUsageError(
            f"the source {redact(url)} is neither an address nor a path",
            "write rtsp://…, or ./NAME for a file of that name",
        )
    return _PATH


def open_source(
    url: str,
    *,
    stream: str = "main",
    open_timeout_s: float = 10.0,
    read_timeout_s: float = 10.0,
    options: SourceOptions | None = None,
    poll_stills: bool = False,
    stop: threading.Event | None = None,
    max_pixels: int = MAX_PIXELS,
    policy: "SourcePolicy | None" = None,
    tap: "PacketTap | None" = None,
) -> Source:
    """Open a source and decode its first frame.

    Args:
        url: A video file, also as `file:URL`; an image file or folder (`DIR`, or `DIR/%05d.jpg`);
            `rtsp(s)://`, `http(s)://`, `rtmp(s)://`, `udp://`, `rtp://` or `tcp://`; `webcam:N` or
            `/dev/videoN`; a test pattern `lavfi:GRAPH`.
        stream: The name that its frames carry.
        open_timeout_s: Longest wait, in seconds, for each step of opening.
        read_timeout_s: Longest wait, in seconds, for the next piece of data.
        options: How a camera or a server is spoken to.
        poll_stills: Ask for a JPEG at an http(s) address again and again, as a camera's, where
            the options do not say; else it is a source of one frame.
        stop: Ends the source where it only waits until it asks again; may be set by any thread.
        max_pixels: Of a frame; a source of larger ones is refused before they are decoded.
        policy: What may be opened; None for all that this user may open.
        tap: Takes a copy of each packet of the video before it is decoded.

    Raises:
        SourceUsageError: The address is wrong.
        SourceNotFound: There is nothing at the address.
        SourceUnreadable: It cannot be opened or decoded.
        SourceTooLarge: Its pictures have more than `max_pixels`.
        SourceDenied: The password, the access rights or the policy forbid it.
        SourceTimeout: It does not answer.
    """
    scheme = find_scheme(url)
    address = scheme.parse(url, options or SourceOptions(), sys.platform)
    if policy is not None:
        policy.check(address)
    asked = OpenOptions(
        stream=stream,
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        poll_stills=poll_stills,
        stop=stop,
        max_pixels=max_pixels,
        policy=policy,
        tap=tap,
    )
    return scheme.open(address, asked)
