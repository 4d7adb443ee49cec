"""Wrong addresses and broken files: one typed error, one line, a way to mend it."""

import struct
import sys
import wave
from pathlib import Path

import av.device
import av.error
import pytest

from streams import (
    SourceNotFound,
    SourceUnreadable,
    SourceUsageError,
    StreamError,
    open_source,
)
from streams.address import SourceKind, parse_address, redact
from streams.sources.camera import camera_address
from tests.support.streams_clips import gray, write_clip


def without_index(folder: Path) -> Path:
    """Write an mp4 whose recording was cut short: its moov box is missing."""
    data = write_clip(folder / "whole.mp4", [gray(90)] * 3).read_bytes()
    kept = b""
    while data:
        size, kind = struct.unpack(">I4s", data[:8])
        kept += b"" if kind == b"moov" else data[:size]
        data = data[size:]
    path = folder / "unfinished.mp4"
    path.write_bytes(kept)
    return path


def sound(folder: Path) -> Path:
    path = folder / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", "none"))
        file.writeframes(bytes(16000))
    return path


def text(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("These are only words.\n" * 20)
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def raised_by(url: str) -> StreamError:
    with pytest.raises(StreamError) as caught:
        open_source(url)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_files_that_cannot_be_tracked_say_why(tmp_path: Path) -> None:
    missing = tmp_path / "missing.mp4"
    error = raised_by(str(missing))
    assert isinstance(error, SourceNotFound)
    assert str(error) == f"no such file: {missing}; check the path"
    assert isinstance(error.__cause__, av.error.FileNotFoundError)

    for path, reason in [
        (text(tmp_path, "words.mp4"), "not a video, or a damaged one"),
        (text(tmp_path, "words.txt"), "not a video but text"),
        (empty(tmp_path), "the file is empty"),
        (without_index(tmp_path), "the index (moov) of"),
        (sound(tmp_path), "no video in"),
    ]:
        error = raised_by(str(path))
        assert isinstance(error, SourceUnreadable)
        assert reason in error.message
        assert str(path) in error.message
        assert error.exit_code == 1

    inside_a_file = text(tmp_path, "file") / "clip.mp4"
    assert isinstance(raised_by(str(inside_a_file)), SourceNotFound)


@pytest.mark.parametrize(
    ("url", "kind", "reason"),
    [
        ("", SourceUsageError, "the source is empty"),
        ("ftp://host/clip.mp4", SourceUsageError, "unknown kind of source ftp://"),
        ("lavfi:", SourceUsageError, "lavfi: names no pattern"),
        ("lavfi:nonsense=1", SourceUnreadable, "cannot read lavfi:nonsense=1"),
        ("lavfi:testsrc2=size=banana", SourceUnreadable, "cannot read lavfi:testsrc2=size=banana"),
        ("lavfi:sine", SourceUnreadable, "no video in lavfi:sine"),
    ],
)
def test_addresses_that_lead_nowhere_say_why(
    url: str, kind: type[StreamError], reason: str
) -> None:
    error = raised_by(url)
    assert type(error) is kind
    assert reason in error.message
    assert error.exit_code == (2 if kind is SourceUsageError else 1)


@pytest.mark.skipif(sys.platform != "linux", reason="cameras have other names elsewhere")
def test_a_missing_camera_is_not_found() -> None:
    error = raised_by("webcam:63")
    assert isinstance(error, SourceNotFound)
    assert error.message == "no such camera: webcam:63"


@pytest.mark.parametrize(
    ("platform", "url", "format_name", "location"),
    [
        ("linux", "webcam:0", "v4l2", "/dev/video0"),
        ("linux", "/dev/video2", "v4l2", "/dev/video2"),
        ("linux", "webcam:/dev/v4l/by-id/usb", "v4l2", "/dev/v4l/by-id/usb"),
        ("darwin", "webcam:0", "avfoundation", "0:none"),
        ("darwin", "webcam:FaceTime HD Camera", "avfoundation", "FaceTime HD Camera:none"),
        ("win32", "webcam:Integrated Camera", "dshow", "video=Integrated Camera"),
    ],
)
def test_a_camera_is_opened_as_its_platform_wants(
    platform: str, url: str, format_name: str, location: str
) -> None:
    address = parse_address(url, platform=platform)
    assert address.kind is SourceKind.CAMERA
    assert (address.format, address.location) == (format_name, location)
    assert address.options["fflags"] == "+4"  # AVFMT_FLAG_NONBLOCK
    assert ("framerate" in address.options) == (platform == "darwin")


def test_a_numbered_camera_on_windows_is_found_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    devices = [
        av.device.DeviceInfo("Microphone", "", False, ["audio"]),
        av.device.DeviceInfo("Camera A", "", True, ["video"]),
        av.device.DeviceInfo("Camera B", "", False, ["video"]),
    ]
    monkeypatch.setattr(av.device, "enumerate_input_devices", lambda name: devices)
    assert camera_address("webcam:1", "1", "win32").location == "video=Camera B"
    with pytest.raises(SourceNotFound, match="no such camera: webcam:2; 2 are connected"):
        camera_address("webcam:2", "2", "win32")


@pytest.mark.parametrize(
    ("platform", "url"),
    [
        ("linux", "webcam:"),
        ("linux", "webcam:front"),
        ("darwin", "/dev/video0"),
        ("win32", "webcam:"),
        ("sunos5", "webcam:0"),
    ],
)
def test_a_camera_that_cannot_be_named_is_wrong_usage(platform: str, url: str) -> None:
    with pytest.raises(SourceUsageError, match=f"no camera can be named {url}"):
        parse_address(url, platform=platform)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://cam.local:554/live", "rtsp://cam.local:554/live"),
        ("rtsp://admin:hunter2@cam/live", "rtsp://***@cam/live"),
        ("rtsp://admin:hun/ter@2@cam/live", "rtsp://***@cam/live"),
        ("http://cam/v?channel=2&password=hunter2", "http://cam/v?***"),
        ("http://cam/v?access_token=hunter2&x=1", "http://cam/v?***"),
        ("rtsp://cam/user=admin_password=hunter2_channel=1", "rtsp://cam/user=***"),
        ("folder/a@b//clip@2.mp4", "folder/a@b//clip@2.mp4"),
    ],
)
def test_secrets_are_redacted(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_an_address_hides_what_it_opens() -> None:
    address = parse_address("rtsp://admin:hunter2@cam/live")
    assert address.options == {"rtsp_transport": "tcp"}
    assert "hunter2" in address.location
    assert "hunter2" not in repr(address)


@pytest.mark.parametrize(
    "graph",
    [
        "movie={file}",
        "color=size=64x64:rate=1,metadata=mode=add:key=k:value=x,metadata=print:file={file}",
        " [in] amovie = {file}",
        "testsrc2 [a]; movie@x={file} [b]; [a][b] hstack",
        "testsrc2,sendcmd=f={file}",
        "life=filename={file}",
        "mo\\vie={file}",
        "'movie'={file}",
        "['x]y=']movie={file}",
        "testsrc2,scale=w='32',\nmovie={file}",
        "testsrc2,lut3d=file={file}",
        "testsrc2,format=yuv420p,psnr=stats_file={file}",
    ],
)
def test_a_pattern_reads_and_writes_no_files(graph: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine\n")
    error = raised_by(f"lavfi:{graph.format(file=file)}")
    assert type(error) is SourceUsageError
    assert error.message.startswith("lavfi: takes no filter")
    assert file.read_text() == "mine\n"


def test_a_pattern_may_be_changed_before_it_is_shown() -> None:
    graph = "testsrc2=size=64x48:rate=25:duration=0.2,scale=32:24,hflip,format=rgb24"
    with open_source(f"lavfi:{graph}") as source:
        assert [frame.image.shape for frame in source] == [(24, 32, 3)] * 5
