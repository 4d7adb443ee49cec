"""Source addresses: from what a person types to what is opened, and with which options."""

import os
import re
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import av.device
from av.container import Flags

from streams.access.formats import SELF_CONTAINED
from streams.errors import SourceNotFound, SourceUsageError
from streams.options import SourceOptions
from streams.redaction import has_unescaped_login, looks_like_address, redact
from streams.sources.pattern import check_graph

__all__ = [
    "Address",
    "SourceKind",
    "camera_address",
    "host_and_port",
    "kind_of",
    "local_path",
    "parse_address",
    "redact",
    "with_host",
]

_KINDS = (
    "a file, an image folder, file:, rtsp(s)://, http(s)://, rtmp(s)://, udp://, rtp://, tcp://, "
    "webcam:0 or lavfi:PATTERN"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_HOST_PORT = re.compile(
    r"(?:\[(?P<literal>[0-9A-Fa-f:.]+(?:%25|%)?[\w.~-]*)\]|(?P<name>[\w.~-]*))(?::(?P<port>[0-9]{0,5}))?"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]|%[01][0-9A-Fa-f]|%7[Ff]")
_NONBLOCK = f"+{Flags.non_block.value}"  # the flag has no name that FFmpeg understands
_MAX_PORT = 65535
_PROBE = frozenset({"analyzeduration", "probesize"})
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


class SourceKind(StrEnum):
    """The families of sources, which differ in how they fail."""

    PATH = "path"
    NETWORK = "network"
    CAMERA = "camera"
    PATTERN = "pattern"


@dataclass(frozen=True, slots=True)
class _Scheme:
    """How FFmpeg opens the addresses of a scheme.

    Attributes:
        takes: Names of the source options that mean something for it.
        protocols: The protocols that FFmpeg may use for it, and for what it refers to.
        port: Where its servers listen; 0 for no usual place.
        format: FFmpeg's input format; None to detect it.
        options: Further options of FFmpeg.
        formats: The formats that FFmpeg may find in it.
    """

    takes: frozenset[str]
    protocols: str
    port: int = 0
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    formats: str = SELF_CONTAINED


_LIVE = _PROBE | {"live"}
_TLS = _LIVE | {"tls_verify"}
# Not rtsp: so FFmpeg follows no redirect, which could lead anywhere.
_RTSP = _Scheme(
    _TLS | {"rtsp_transport", "user_agent"},
    "rtp,srtp,udp,tcp,tls",
    554,
    "rtsp",
    formats="rtsp,asf",
)
_HTTP = _Scheme(_TLS | {"poll_s", "user_agent"}, "http,https,httpproxy,tcp,tls,crypto", 80)
_DATAGRAMS = {"overrun_nonfatal": "1"}  # a tracker that is slow for a while loses data, not all
_RTMP_PROBE = {"analyzeduration": "2000000"}  # else it waits for sound that does not come
_SCHEMES = {
    "rtsp": _RTSP,
    "rtsps": replace(_RTSP, port=322),
    "http": _HTTP,
    "https": replace(_HTTP, port=443),
    "rtmp": _Scheme(_LIVE, "rtmp,tcp", 1935, "live_flv", _RTMP_PROBE),
    "rtmps": _Scheme(_TLS, "rtmps,tls,tcp", 443, "live_flv", _RTMP_PROBE),
    "udp": _Scheme(_LIVE, "udp", options=_DATAGRAMS),
    "rtp": _Scheme(_LIVE, "rtp,udp", formats=f"rtp,{SELF_CONTAINED}"),
    "tcp": _Scheme(_LIVE, "tcp"),
}
_FILE = _Scheme(_PROBE, "file,crypto,data")


@dataclass(frozen=True, slots=True)
class Address:
    """What PyAV needs to open a source.

    Attributes:
        kind: The family of the source.
        shown: The address for people: without credentials.
        location: What is opened. Holds credentials: never show it.
        format: Name of FFmpeg's input format; None to detect it.
        options: Options of that format.
        scheme: In lower case; "" for what has none.
        protocols: The protocols that FFmpeg may use, also for what a playlist names; "" for
            those that its format uses by itself.
        formats: The formats that FFmpeg may find in it; "" for any.
        settings: What was asked for.
    """

    kind: SourceKind
    shown: str
    location: str = field(repr=False)
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    scheme: str = ""
    protocols: str = ""
    formats: str = ""
    settings: SourceOptions = field(default_factory=SourceOptions)


def kind_of(url: str) -> SourceKind:
    """Tell which kind of source an address names.

    By its text alone, unless that looks like a misspelt address: then it is a path if it is there.

    Raises:
        SourceUsageError: It is empty, or neither an address nor a path.
    """
    if not url.strip():
        raise SourceUsageError("the source is empty", f"give {_KINDS}")
    scheme = _SCHEME.match(url)
    if _is_file_url(url):
        return SourceKind.PATH
    if scheme:
        return SourceKind.NETWORK
    if _prefixed(url, "webcam:") or re.fullmatch(r"/dev/video\d+", url):
        return SourceKind.CAMERA
    if _prefixed(url, "lavfi:"):
        return SourceKind.PATTERN
    # Taken for a path it would be shown with the password in it.
    if looks_like_address(url) and not os.path.lexists(url):
        raise SourceUsageError(
            f"the source {redact(url)} is neither an address nor a path",
            "write rtsp://…, or ./NAME for a file of that name",
        )
    return SourceKind.PATH


def parse_address(
    url: str, options: SourceOptions | None = None, *, platform: str = sys.platform
) -> Address:
    """Find the FFmpeg format and options for an address.

    Does not touch the network; on Windows `webcam:N` asks for the list of cameras.

    Args:
        url: A path, `file:PATH`, an address of the network, `webcam:N`, `/dev/videoN` or
            `lavfi:PATTERN`.
        options: What to ask of the source.
        platform: As `sys.platform`; decides how cameras are opened.

    Raises:
        SourceUsageError: The address is empty or of a kind that is not supported, or does not
            take an option.
        SourceNotFound: There is no such camera (Windows only; elsewhere opening it says so).
    """
    settings = options or SourceOptions()
    match kind_of(url):
        case SourceKind.NETWORK:
            return _network_address(url, settings)
        case SourceKind.CAMERA:
            camera = url[len("webcam:") :] if _prefixed(url, "webcam:") else url
            _check_controls(camera, "webcam:")
            return _with_camera_options(camera_address(url, camera, platform), settings)
        case SourceKind.PATTERN:
            check_options(settings, "lavfi:", frozenset())
            graph = url[len("lavfi:") :]
            check_graph(graph)
            _check_controls(graph, "lavfi:")
            return Address(SourceKind.PATTERN, redact(f"lavfi:{graph}"), graph, "lavfi")
    check_options(settings, "a file", _FILE.takes)
    path = _file_path(url) if _is_file_url(url) else url
    options_ = _probe_options(settings)
    return Address(
        SourceKind.PATH, path, path, None, options_, protocols=_FILE.protocols, settings=settings
    )


def local_path(url: str) -> Path | None:
    """The path that an address names; None where it names something else.

    Raises:
        SourceUsageError: As `kind_of`.
    """
    if kind_of(url) is not SourceKind.PATH:
        return None
    return Path(_file_path(url) if _is_file_url(url) else url)


def check_options(settings: SourceOptions, what: str, taken: frozenset[str]) -> None:
    """Refuse options that mean nothing for this kind of source.

    Raises:
        SourceUsageError: There is one.
    """
    for name in settings.given:
        if name not in taken:
            known = ", ".join(sorted(taken)) or "none"
            raise SourceUsageError(f"source option {name} is not for {what}", f"it takes {known}")


def _is_file_url(url: str) -> bool:
    return _prefixed(url, "file:") and not os.path.lexists(url)


def _prefixed(url: str, prefix: str) -> bool:
    return url[: len(prefix)].lower() == prefix


def _file_path(url: str) -> str:
    """The path of a `file:` URL (RFC 8089), with its percent signs decoded."""
    rest = url[len("file:") :]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise SourceUsageError(
                f"a file: address names another host: {redact(f'smb://{host}')[6:]}",
                "write file:///PATH for a file of this machine",
            )
        rest = slash + path
    path_bytes = unquote_to_bytes(rest)
    if not path_bytes or b"\0" in path_bytes:
        raise SourceUsageError("a file: address names no file", "write file:///PATH")
    return os.fsdecode(path_bytes)


def _network_address(url: str, settings: SourceOptions) -> Address:
    scheme, _, rest = url.partition("://")
    scheme, shown = scheme.lower(), redact(url)
    how = _SCHEMES.get(scheme)
    if how is None:
        hint = _ELSEWHERE.get(scheme, f"give {_KINDS}")
        raise SourceUsageError(f"unknown kind of source {scheme}://: {shown}", hint)
    _check_controls(rest, f"{scheme}://")
    _check_login(rest, shown)
    check_options(settings, f"{scheme}://", how.takes)
    options = dict(how.options) | _probe_options(settings) | _wire_options(scheme, settings)
    return Address(
        SourceKind.NETWORK,
        shown,
        f"{scheme}://{rest}",
        how.format,
        options,
        scheme,
        how.protocols,
        how.formats,
        settings,
    )


def _check_controls(text: str, what: str) -> None:
    """Refuse what could end a line of a request or of a log, percent-encoded or not."""
    if _CONTROL.search(text):
        raise SourceUsageError(f"a {what} address holds control characters", "leave them out")


def _check_login(rest: str, shown: str) -> None:
    """Refuse what would be sent to another host than the one that is meant."""
    if has_unescaped_login(rest):
        raise SourceUsageError(
            f"cannot tell where the login ends and the host begins: {shown}",
            "in a user name or password write / as %2F, ? as %3F, # as %23, @ as %40, "
            "and @ in a path as %40, too",
        )
    _, host, _ = _taken_apart(rest)
    port = _HOST_PORT.fullmatch(host)
    if port is None or int(port["port"] or 0) > _MAX_PORT or not _is_url(rest):
        raise SourceUsageError(
            f"not a host and a port: {shown}", "write rtsp://user:password@host:port/path"
        )


def _is_url(rest: str) -> bool:
    """Whether Python takes what follows `scheme://` apart; its error would tell the login."""
    try:
        urlsplit(f"//{rest}")
    except ValueError:
        return False
    return True


def _taken_apart(rest: str) -> tuple[str, str, str]:
    """Of what follows `scheme://`: the login with its @, host and port, and what comes after."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, host = authority.rpartition("@")
    return login + at, host, rest[len(authority) :]


def host_and_port(address: Address) -> tuple[str, int]:
    """The host of a network address and its port; 0 where none is usual."""
    _, host, _ = _taken_apart(address.location.partition("://")[2])
    found = _HOST_PORT.fullmatch(host)
    assert found is not None, "it was checked when it was parsed"
    name = (found["literal"] or "").replace("%25", "%") or found["name"] or ""
    return name, int(found["port"] or _SCHEMES[address.scheme].port)


def with_host(address: Address, host: str) -> Address:
    """A network address with another host, at the same port."""
    login, _, after = _taken_apart(address.location.partition("://")[2])
    _, port = host_and_port(address)
    place = f"[{host}]" if ":" in host else host
    return replace(address, location=f"{address.scheme}://{login}{place}:{port}{after}")


def _probe_options(settings: SourceOptions) -> dict[str, str]:
    return {name: str(value) for name, value in settings.given.items() if name in _PROBE}


def _wire_options(scheme: str, settings: SourceOptions) -> dict[str, str]:
    """FFmpeg's options for how a server is spoken to."""
    options = {}
    if scheme in ("rtsp", "rtsps"):
        # With "auto" the second attempt is the opener's.
        options["rtsp_transport"] = "udp" if settings.rtsp_transport == "udp" else "tcp"
    if settings.user_agent is not None:
        options["user_agent"] = settings.user_agent
    if settings.tls_verify or (scheme in ("http", "https") and settings.tls_verify is None):
        options["tls_verify"] = "1"
        trusted = _trusted_certificates()
        if trusted is not None:
            options["ca_file"] = trusted
    return options


def _trusted_certificates() -> str | None:
    """The file of certificates that this machine trusts; None where it has none in one file."""
    paths = ssl.get_default_verify_paths()
    candidates = (Path(paths.cafile or ""), Path(paths.capath or "") / "ca-certificates.crt")
    return next((str(path) for path in candidates if path.is_file()), None)


def camera_address(url: str, camera: str, platform: str) -> Address:
    """Return how to open a camera, given by number, device path (Linux) or name, on `platform`.

    Reading never blocks, so that the read timeout holds for devices as well.

    Raises:
        SourceUsageError: `camera` cannot name a camera on this platform.
        SourceNotFound: Windows has no camera of this number.
    """
    options, shown = {"fflags": _NONBLOCK}, redact(url)
    if platform.startswith("linux"):
        if re.fullmatch(r"\d+", camera):
            camera = f"/dev/video{camera}"
        if camera.startswith("/dev/"):
            return Address(SourceKind.CAMERA, shown, camera, "v4l2", options)
    elif camera and not camera.startswith("/dev/"):
        if platform == "darwin":
            options["framerate"] = "30"
            return Address(SourceKind.CAMERA, shown, f"{camera}:none", "avfoundation", options)
        if platform == "win32":
            name = _dshow_name(int(camera)) if camera.isdecimal() else camera
            return Address(SourceKind.CAMERA, shown, f"video={name}", "dshow", options)
    raise SourceUsageError(f"no camera can be named {shown} on {platform}", "give webcam:0")


def _with_camera_options(address: Address, settings: SourceOptions) -> Address:
    """The camera, asked for a size, a rate or a coding."""
    names = {name: name for name in ("video_size", "framerate", "pixel_format")}
    coding = {"v4l2": "input_format", "dshow": "vcodec"}.get(address.format or "")
    if coding is not None:
        names["input_format"] = coding
    check_options(settings, f"a webcam ({address.format})", frozenset(names))
    asked = {names[name]: str(value) for name, value in settings.given.items()}
    return replace(address, options=dict(address.options) | asked, settings=settings)


def _dshow_name(index: int) -> str:
    devices = av.device.enumerate_input_devices("dshow")
    names = [device.name for device in devices if "video" in device.media_types]
    if index >= len(names):
        raise SourceNotFound(f"no such camera: webcam:{index}", f"{len(names)} are connected")
    return names[index]
