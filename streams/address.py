"""Turns what a person types into what PyAV opens, and hides the secrets in it."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import av.device
from av.container import Flags

from streams.errors import SourceNotFound, SourceUsageError

_KINDS = "a file, an image folder, rtsp://, rtsps://, http://, https://, webcam:0 or lavfi:PATTERN"
_USER_INFO = re.compile(r"//.*@", re.DOTALL)
_MISSPELT = re.compile(r"^[\s\"'<]*(rtsps?|https?)\b[:/]|\b(rtsps?|https?):/", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_NONBLOCK = f"+{Flags.non_block.value}"  # the flag has no name that FFmpeg understands
_SECRET = re.compile(
    r"((?:pass|pwd|user|login|token|secret|key|auth|sig)[\w-]*=)[^&;#]*", re.IGNORECASE
)


class SourceKind(StrEnum):
    """The families of sources, which differ in how they fail."""

    PATH = "path"
    NETWORK = "network"
    CAMERA = "camera"
    PATTERN = "pattern"


@dataclass(frozen=True, slots=True)
class Address:
    """What PyAV needs to open a source.

    Attributes:
        kind: The family of the source.
        shown: The address for people: without credentials.
        location: What is opened. Holds credentials: never show it.
        format: Name of FFmpeg's input format; None to detect it.
        options: Options of that format.
    """

    kind: SourceKind
    shown: str
    location: str = field(repr=False)
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def redact(url: str) -> str:
    """Return `url` with user names, passwords and secret parameters replaced by `***`.

    Everything between `//` and the last `@` goes, so that a password with a `/` or an `@` in it
    goes too. A string without a scheme is a path and comes back as it is.
    """
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", url):
        return url
    return _SECRET.sub(r"\1***", _USER_INFO.sub("//***@", url))


def kind_of(url: str) -> SourceKind:
    """Tell which kind of source an address names, by its text alone.

    Raises:
        SourceUsageError: It is empty, or neither an address nor a path.
    """
    if not url.strip():
        raise SourceUsageError("the source is empty", f"give {_KINDS}")
    if _SCHEME.match(url):
        return SourceKind.NETWORK
    if url.startswith("webcam:") or re.fullmatch(r"/dev/video\d+", url):
        return SourceKind.CAMERA
    if url.startswith("lavfi:"):
        return SourceKind.PATTERN
    if _MISSPELT.search(url):  # taken for a path it would be shown with the password in it
        raise SourceUsageError("the source is neither an address nor a path", "write rtsp://…")
    return SourceKind.PATH


def parse_address(url: str, *, platform: str = sys.platform) -> Address:
    """Find the FFmpeg format and options for an address.

    Touches neither the disk nor the network; on Windows `webcam:N` asks for the list of cameras.

    Args:
        url: A path, `rtsp(s)://…`, `http(s)://…`, `webcam:N`, `/dev/videoN` or `lavfi:PATTERN`.
        platform: As `sys.platform`; decides how cameras are opened.

    Raises:
        SourceUsageError: The address is empty or of a kind that is not supported.
        SourceNotFound: There is no such camera (Windows only; elsewhere opening it says so).
    """
    match kind_of(url):
        case SourceKind.NETWORK:
            return _network_address(url)
        case SourceKind.CAMERA:
            return camera_address(url, url.removeprefix("webcam:"), platform)
        case SourceKind.PATTERN:
            graph = url.removeprefix("lavfi:")
            if not graph:
                raise SourceUsageError("lavfi: names no pattern", "for example lavfi:testsrc2")
            return Address(SourceKind.PATTERN, redact(url), graph, "lavfi")
    return Address(SourceKind.PATH, url, url)


def _network_address(url: str) -> Address:
    scheme, shown = url.partition("://")[0].lower(), redact(url)
    if scheme in ("rtsp", "rtsps"):
        return Address(SourceKind.NETWORK, shown, url, "rtsp", {"rtsp_transport": "tcp"})
    if scheme in ("http", "https"):
        return Address(SourceKind.NETWORK, shown, url)
    raise SourceUsageError(f"unknown kind of source {scheme}://: {shown}", f"give {_KINDS}")


def camera_address(url: str, camera: str, platform: str) -> Address:
    """Return how to open a camera, given by number, device path (Linux) or name, on `platform`.

    Reading never blocks, so that the read timeout holds for devices as well.

    Raises:
        SourceUsageError: `camera` cannot name a camera on this platform.
        SourceNotFound: Windows has no camera of this number.
    """
    options = {"fflags": _NONBLOCK}
    if platform.startswith("linux"):
        if re.fullmatch(r"\d+", camera):
            camera = f"/dev/video{camera}"
        if camera.startswith("/dev/"):
            return Address(SourceKind.CAMERA, url, camera, "v4l2", options)
    elif camera and not camera.startswith("/dev/"):
        if platform == "darwin":
            options["framerate"] = "30"
            return Address(SourceKind.CAMERA, url, f"{camera}:none", "avfoundation", options)
        if platform == "win32":
            name = _dshow_name(int(camera)) if camera.isdecimal() else camera
            return Address(SourceKind.CAMERA, url, f"video={name}", "dshow", options)
    raise SourceUsageError(f"no camera can be named {url} on {platform}", "give webcam:0")


def _dshow_name(index: int) -> str:
    devices = av.device.enumerate_input_devices("dshow")
    names = [device.name for device in devices if "video" in device.media_types]
    if index >= len(names):
        raise SourceNotFound(f"no such camera: webcam:{index}", f"{len(names)} are connected")
    return names[index]
