"""What decoders, demuxers, the disk and the network refuse: skipped, told, or raised."""

import errno
import http.server
import io
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import streams.sources.ffmpeg
from streams import Frame, Source, SourceTimeout, SourceUnreadable, StreamError, open_source
from streams.address import Address
from tests.support.streams_clips import damage, gray, write_clip, write_pattern
from tests.support.supervised import watched
from tracker.protocol.replies import StreamState

CORPUS = Path(__file__).parents[2] / "tools" / "fuzz" / "media" / "corpus"
NOT_IMPLEMENTED = CORPUS / "mjpeg-one-frame-not-implemented.avi"
TRUNCATED = CORPUS / "truncated.rm"
TRIMMED = CORPUS / "edit-list-cut.mp4"


def read(url: str | Path) -> tuple[Source, list[Frame]]:
    with open_source(str(url), read_timeout_s=3) as source:
        return source, list(source)


def opencv_frames(path: Path) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    images = []
    while True:
        went_well, image = capture.read()
        if not went_well:
            return images
        images.append(np.asarray(image[..., ::-1], np.uint8))


def assert_same_images(frames: list[Frame], expected: list[NDArray[np.uint8]]) -> None:
    assert len(frames) == len(expected)
    for frame, image in zip(frames, expected, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 3  # other rounding of colours


def spoilt(jpeg: bytes) -> bytes:
    """Give a JPEG sampling factors that FFmpeg answers with "not implemented"."""
    start = jpeg.index(b"\xff\xc0")
    return jpeg[: start + 11] + b"\x13" + jpeg[start + 12 :]


def jpegs(count: int) -> list[bytes]:
    encoded = []
    for index in range(count):
        file = io.BytesIO()
        Image.fromarray(gray(20 + 8 * index)).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    return encoded


def test_a_picture_that_is_not_implemented_is_skipped() -> None:
    source, frames = read(NOT_IMPLEMENTED)
    claimed = source.info.frame_count
    assert claimed == 20
    assert (len(frames), source.stats.corrupt_packets) == (19, 1)
    assert source.stats.damage is None
    times = [round((frame.time_s or 0) * float(source.info.fps or 1)) for frame in frames]
    assert len(set(range(claimed)) - set(times)) == 1


class RefusingDecoder:
    """A decoder that raises an error at every third packet."""

    def __init__(self, decoder: Any, error: Exception) -> None:
        self._decoder = decoder
        self._error = error
        self._packets = 0

    def decode(self, packet: Any) -> Any:
        self._packets += packet.size > 0
        if packet.size and self._packets % 3 == 0:
            raise self._error
        return self._decoder.decode(packet)

    def flush_buffers(self) -> None:
        self._packets -= 1  # the same packet comes again
        self._decoder.flush_buffers()


ERRORS = [
    *(
        av.error.classes[code](code, "made up")
        for code in (
            errno.EPERM,
            errno.EACCES,
            errno.EAGAIN,
            errno.ENOSYS,
            errno.ENOMEM,
            errno.EIO,
            errno.EINVAL,
            errno.ENOENT,
            errno.ETIMEDOUT,
            errno.EPIPE,
        )
    ),
    *(
        av.error.classes[kind.value](kind.value, "made up")
        for kind in av.error.ErrorType
        if kind.name
        in ("PATCHWELCOME", "BUG", "EXTERNAL", "UNKNOWN", "EXIT", "EOF", "HTTP_FORBIDDEN")
    ),
    av.error.UndefinedError(12345, "made up"),
    ValueError("31 is not a valid Type"),
    RuntimeError("made up"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_the_decoder_raises_costs_one_picture(tmp_path: Path, error: Exception) -> None:
    clip = tmp_path / "clip.avi"  # each picture stands alone
    with av.open(str(clip), "w") as container:
        video = container.add_stream("mjpeg", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuvj420p"
        for index in range(10):
            picture = av.VideoFrame.from_ndarray(gray(20 * index), format="rgb24")
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    with open_source(str(clip)) as source:
        assert isinstance(source, streams.sources.ffmpeg.AvSource)
        refusing: Any = RefusingDecoder(source._decoder, error)
        source._decoder = refusing
        frames = list(source)
    kept = [index for index in range(10) if index not in (3, 6, 9)]
    assert [frame.image.mean() for frame in frames] == pytest.approx(
        [20 * index for index in kept], abs=3
    )
    assert source.stats.corrupt_packets == 3
    assert source.stats.damage is None


def test_a_picture_that_cannot_be_turned_into_rgb_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [gray(level) for level in (40, 80, 120, 160)])
    upright = streams.sources.ffmpeg.Orientation.upright
    calls = 0

    def failing(self: Any, image: Any, picture: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise av.error.NotImplementedError(errno.ENOSYS, "made up")
        return upright(self, image, picture)

    monkeypatch.setattr(streams.sources.ffmpeg.Orientation, "upright", failing)
    source, frames = read(clip)
    assert [round(frame.image.mean(), -1) for frame in frames] == [40, 120, 160]
    assert [frame.seq for frame in frames] == [0, 1, 2]
    assert source.stats.corrupt_packets == 1


def test_a_picture_format_that_ffmpeg_cannot_convert_is_refused_in_one_line() -> None:
    with pytest.raises(SourceUnreadable, match=r"no frame of .* can be decoded: ") as caught:
        open_source("lavfi:testsrc2=size=64x48:rate=25:duration=1,format=bgr4")
    assert "\n" not in str(caught.value)


def test_a_file_of_which_nothing_decodes_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "spoilt.mjpeg"
    first, *others = jpegs(12)
    clip.write_bytes(first + b"".join(spoilt(jpeg) for jpeg in others))
    monkeypatch.setattr(streams.sources.ffmpeg, "_MAX_BARREN_PACKETS", 8)
    with open_source(str(clip)) as source:
        frames = iter(source)
        assert next(frames).seq == 0
        with pytest.raises(SourceUnreadable, match=r"8 packets in a row of .* give no picture"):
            next(frames)
    assert source.stats.corrupt_packets == 8


@pytest.mark.parametrize("packet", [55, 56, 57, 58])
def test_damage_shortly_before_the_end_costs_no_other_picture(tmp_path: Path, packet: int) -> None:
    # With B-frames the decoder gives several pictures only when it is emptied.
    clip = write_pattern(tmp_path / "whole.mp4")
    bad = damage(clip, range(packet, packet + 1), tmp_path / "bad.mp4")
    source, frames = read(bad)
    assert source.stats.corrupt_packets == 1
    assert len(frames) == 59
    assert {frame.pts for frame in frames} < {512 * index for index in range(60)}


def test_a_demuxer_error_ends_a_file_with_what_was_decoded() -> None:
    source, frames = read(TRUNCATED)
    assert_same_images(frames, opencv_frames(TRUNCATED))
    assert source.stats.damage == "Invalid data found when processing input"


@pytest.mark.parametrize("container", ["rm", "mkv", "ts", "flv", "avi", "h264", "mp4"])
def test_a_cut_file_gives_the_beginning_of_the_whole_one(tmp_path: Path, container: str) -> None:
    whole = tmp_path / f"whole.{container}"
    codec = {"rm": "rv10", "avi": "mpeg4"}.get(container, "libx264")
    options = {"movflags": "+faststart"} if container == "mp4" else {}
    with av.open(str(whole), "w", options=options) as file:
        video = file.add_stream(codec, rate=25)
        video.height, video.width, video.pix_fmt = 96, 128, "yuv420p"
        video.codec_context.time_base = Fraction(1, 25)
        rng = np.random.default_rng(1)
        for index in range(30):
            coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)  # so that all take as many bytes
            picture = cv2.resize(coarse, (128, 96), interpolation=cv2.INTER_CUBIC)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    size = whole.stat().st_size * 7 // 10
    with av.open(str(whole)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    stored = sum(1 for packet in packets if (packet.pos or 0) + packet.size <= size)
    cut = tmp_path / f"cut.{container}"
    cut.write_bytes(whole.read_bytes()[:size])
    expected = {frame.seq: frame.image for frame in read(whole)[1]}
    assert len(expected) == 30
    frames = read(cut)[1]
    assert 10 < stored < 28
    # Of a bare stream, the decoder makes a last picture from a part of its data.
    assert stored <= len(frames) <= stored + (container in ("ts", "h264"))
    for frame in frames[:-1]:
        assert np.abs(frame.image.astype(int) - expected[frame.seq]).mean() < 1


def test_frames_that_an_edit_list_hides_are_not_missing() -> None:
    source, frames = read(TRIMMED)
    assert_same_images(frames, opencv_frames(TRIMMED))
    assert source.info.frame_count == source.stats.frames == len(frames)
    with av.open(str(TRIMMED)) as container:
        assert container.streams.video[0].frames > len(frames)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg writes the gaps")
def test_times_at_which_an_avi_shows_nothing_new_are_not_missing(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", [gray(40), gray(90)], pts=[0, 50])
    gaps = tmp_path / "gaps.avi"
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-fps_mode", "passthrough"]
    subprocess.run([*command, "-c:v", "mpeg4", "-r", "25", str(gaps)], check=True)
    with av.open(str(gaps)) as container:
        assert container.streams.video[0].frames > 40
    source, frames = read(gaps)
    assert source.info.frame_count == len(frames) == 2
    assert [round(frame.image.mean(), -1) for frame in frames] == [40, 90]


def test_a_cut_avi_claims_what_its_header_says(tmp_path: Path) -> None:
    content = NOT_IMPLEMENTED.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(content[: len(content) * 2 // 3])  # without its index
    source, frames = read(cut)
    length = content.index(b"strh") + 8 + 32  # dwLength of the AVISTREAMHEADER
    assert source.info.frame_count == int.from_bytes(content[length : length + 4], "little") == 20
    assert 5 < len(frames) < 15


class BreakingContainer:
    """A container whose data end in an error after some packets."""

    def __init__(self, container: Any, packets: int, error: Exception) -> None:
        self._container = container
        self._packets = packets
        self._error = error

    def demux(self, video: Any) -> Iterator[Any]:
        for index, packet in enumerate(self._container.demux(video)):
            if index == self._packets:
                raise self._error
            yield packet

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)


def break_after(monkeypatch: pytest.MonkeyPatch, packets: int, error: Exception) -> None:
    open_container = streams.sources.ffmpeg._open

    def open_breaking(address: Address, *more: Any) -> Any:
        return BreakingContainer(open_container(address, *more), packets, error)

    monkeypatch.setattr(streams.sources.ffmpeg, "_open", open_breaking)


@pytest.mark.parametrize("code", [errno.EIO, errno.EPERM, errno.EINVAL, errno.ENOENT])
def test_an_error_of_the_disk_that_the_disk_does_not_give_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    clip = write_pattern(tmp_path / "clip.mp4", frames=12)
    break_after(monkeypatch, 8, av.error.classes[code](code, "made up"))
    source, frames = read(clip)
    assert len(frames) == 8  # those that the decoder still held are among them
    assert source.stats.damage == "made up"


def test_an_error_of_the_disk_is_raised_after_what_was_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_pattern(tmp_path / "clip.mp4", frames=12)
    break_after(monkeypatch, 8, av.error.classes[errno.EIO](errno.EIO, "made up"))
    with open_source(str(clip)) as source:
        frames = iter(source)
        clip.rename(tmp_path / "gone.mp4")
        assert [next(frames).seq for _ in range(8)] == list(range(8))
        with pytest.raises(StreamError, match=r"cannot read|no such file"):
            next(frames)
    assert source.stats.damage is None


def test_a_stream_that_nobody_announced_does_not_end_in_an_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_pattern(tmp_path / "clip.mp4", frames=12)
    break_after(monkeypatch, 12, IndexError("list index out of range"))  # where PyAV flushes
    source, frames = read(clip)
    assert len(frames) == 12
    assert source.stats.damage is None


class FileHandler(http.server.BaseHTTPRequestHandler):
    """Serves `server.data`; of what is at /broken it sends a part and closes the connection."""

    server: "FileServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        data = self.server.data
        wanted = self.headers.get("Range")
        start = int(wanted.split("=")[1].split("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Connection", "close")
        self.end_headers()
        end = len(data) * 6 // 10 if self.path.startswith("/broken") else len(data)
        self.wfile.write(data[start : max(start, end)])

    def log_message(self, format: str, *args: object) -> None:
        pass


class FileServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), FileHandler)
        self.data = data

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that leaves early


@contextmanager
def serving(data: bytes) -> Iterator[str]:
    server = FileServer(data)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_damaged_file_on_a_server_ends_and_is_not_read_again() -> None:
    expected = opencv_frames(TRUNCATED)
    with serving(TRUNCATED.read_bytes()) as host:
        source, frames = read(f"{host}/truncated.rm")
        with watched(f"{host}/truncated.rm") as cam:
            taken = cam.take(len(expected))
            cam.wait_for(StreamState.ENDED)
    assert_same_images(frames, expected)
    assert source.stats.damage == "Invalid data found when processing input"
    assert len(taken) == len(expected)
    assert cam.events[-1].text.endswith(
        "was read to its end, where it is damaged: Invalid data found when processing input"
    )


def long_rm(path: Path) -> bytes:
    with av.open(str(path), "w") as file:
        video = file.add_stream("rv10", rate=25)
        video.height, video.width, video.pix_fmt = 144, 176, "yuv420p"
        video.bit_rate = 2_000_000
        rng = np.random.default_rng(1)
        for _ in range(80):
            picture = rng.integers(0, 256, (144, 176, 3), np.uint8)
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(video.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize("container", ["mkv", "mp4", "rm"])
def test_a_connection_that_breaks_is_no_damage(tmp_path: Path, container: str) -> None:
    if container == "rm":  # its demuxer reports it as bad data
        data = long_rm(tmp_path / "clip.rm")
    else:
        data = write_pattern(tmp_path / f"clip.{container}").read_bytes()
    with (
        serving(data) as host,
        pytest.raises(SourceUnreadable, match=r"the connection to .* broke"),
    ):
        read(f"{host}/broken.{container}")


def test_damage_in_the_middle_of_a_file_on_a_server_is_no_broken_connection(
    tmp_path: Path,
) -> None:
    data = bytearray(long_rm(tmp_path / "clip.rm"))
    half = len(data) // 2
    data[half:] = np.random.default_rng(2).bytes(len(data) - half)
    (tmp_path / "damaged.rm").write_bytes(data)
    _, expected = read(str(tmp_path / "damaged.rm"))
    with serving(bytes(data)) as host:
        source, frames = read(f"{host}/clip.rm")
    assert len(frames) == len(expected)
    assert 0 < len(frames) < 80
    assert source.stats.corrupt_packets > 0


class MjpegHandler(http.server.BaseHTTPRequestHandler):
    """A camera over HTTP; `server.is_bad` tells which of its pictures cannot be decoded."""

    server: "MjpegServer"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        pictures = jpegs(20)
        number = 0
        while not self.server.stopping.wait(0.02):
            jpeg = pictures[number % 20]
            if self.server.is_bad(number):
                jpeg = spoilt(jpeg)
            head = b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(
                jpeg
            )
            self.wfile.write(head + jpeg + b"\r\n")
            number += 1

    def log_message(self, format: str, *args: object) -> None:
        pass


class MjpegServer(FileServer):
    def __init__(self, is_bad: Any) -> None:
        http.server.ThreadingHTTPServer.__init__(self, ("127.0.0.1", 0), MjpegHandler)
        self.is_bad = is_bad
        self.stopping = threading.Event()


@contextmanager
def mjpeg_camera(is_bad: Any) -> Iterator[str]:
    server = MjpegServer(is_bad)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/video"
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.slow
def test_a_camera_with_bad_pictures_goes_on() -> None:
    with mjpeg_camera(lambda number: number % 7 == 3) as url, watched(url) as cam:
        taken = [cam.take(1)[0] for _ in range(30)]
        status = cam.supervisor.status()
    assert status.state is StreamState.RUNNING
    assert status.reconnects == 0
    assert status.corrupt_packets > 0
    assert len(taken) == 30


@pytest.mark.slow
def test_a_camera_of_which_no_picture_can_be_decoded_fails_in_time() -> None:
    with (
        mjpeg_camera(lambda number: number > 3) as url,
        open_source(url, read_timeout_s=0.5) as source,
        pytest.raises(SourceTimeout, match="no picture from"),
    ):
        for _ in source:
            pass
    assert source.stats.corrupt_packets > 0
