"""Addresses of cameras of this machine: `webcam:N`, `webcam:NAME` or `/dev/videoN`."""

import re
from dataclasses import replace

import av.device
from av.container import Flags

from streams.errors import SourceNotFound, SourceUsageError
from streams.options import SourceOptions
from streams.redaction import redact
from streams.sources.base import (
    Address,
    SourceKind,
    check_controls,
    check_options,
    has_prefix,
)

_PREFIX = "webcam:"
_NONBLOCK = f"+{Flags.non_block.value}"  # the flag has no name that FFmpeg understands


def is_camera(url: str) -> bool:
    """True where it names a camera."""
    return has_prefix(url, _PREFIX) or re.fullmatch(r"/dev/video\d+", url) is not None


def parse_camera(url: str, settings: SourceOptions, platform: str) -> Address:
    """The address of a camera; on Windows `webcam:N` asks for the list of cameras.

    Raises:
        SourceUsageError: It cannot name a camera on this platform, or takes no such option.
        SourceNotFound: Windows has no camera of this number.
    """
    camera = url[len(_PREFIX) :] if has_prefix(url, _PREFIX) else url
    check_controls(camera, _PREFIX)
    return _with_options(camera_address(url, camera, platform), settings)


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


def _with_options(address: Address, settings: SourceOptions) -> Address:
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
