"""Sources and files that are too large: refused before they are decoded, alone and together."""

import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from streams import SourceTooLarge, SourceUnreadable, open_source
from streams.access.bounded_file import read_at_most
from streams.info import MAX_PIXELS
from tests.support.streams_clips import gray, write_clip
from tests.support.supervised import wait_until, watched
from tracker.daemon.config.schema import LimitsConfig
from tracker.daemon.sources.pixel_budget import PixelBudget
from tracker.protocol.replies import StreamState


def write_video(path: Path, codec: str, sizes: list[tuple[int, int]]) -> Path:
    """Pictures of several sizes one after the other, as a camera sends whose size is changed."""
    packets = b""
    for width, height in sizes:
        encoder = av.CodecContext.create(codec, "w")
        encoder.width, encoder.height, encoder.time_base = width, height, Fraction(1, 25)
        encoder.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        frame = av.VideoFrame.from_ndarray(gray(90, width=width, height=height), "rgb24")
        frame = frame.reformat(format=encoder.pix_fmt)
        frame.pts = 0
        packets += b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)])
    path.write_bytes(packets)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    assert cv2.imwrite(str(path / "a.png"), gray(10))
    return path


def animation(path: Path) -> Path:
    pictures = [Image.fromarray(gray(level)) for level in (10, 200)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    return path


SOURCES: dict[str, Callable[[Path], Path]] = {
    "mp4": lambda at: write_clip(at / "clip.mp4", [gray(10), gray(90)]),
    "mkv": lambda at: write_clip(at / "clip.mkv", [gray(10), gray(90)]),
    "mjpeg": lambda at: write_video(at / "clip.mjpeg", "mjpeg", [(64, 48)] * 3),
    "folder": lambda at: folder(at / "pictures"),
    "webp": lambda at: animation(at / "clip.webp"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_pictures_of_more_pixels_than_allowed_are_refused_by_their_size(
    kind: str, tmp_path: Path
) -> None:
    path = SOURCES[kind](tmp_path)
    with open_source(str(path), max_pixels=64 * 48) as source:
        assert (source.info.width, source.info.height) == (64, 48)
    with pytest.raises(SourceTooLarge, match=r"64x48 pixels, at most 3071 are decoded"):
        open_source(str(path), max_pixels=64 * 48 - 1)


@pytest.mark.parametrize("codec", ["mjpeg", "libx264"])
def test_a_size_that_grows_beyond_it_ends_the_source(codec: str, tmp_path: Path) -> None:
    name = "clip.mjpeg" if codec == "mjpeg" else "clip.h264"
    path = write_video(tmp_path / name, codec, [(64, 48)] * 40 + [(640, 480)])
    with open_source(str(path), max_pixels=64 * 48) as source:
        with pytest.raises(SourceTooLarge, match="too large"):
            list(source)
        assert source.stats.frames >= 1


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_few_bytes_that_claim_more_than_the_largest_picture(suffix: str, tmp_path: Path) -> None:
    side = 11_600
    assert side**2 > MAX_PIXELS
    path = tmp_path / f"picture{suffix}"
    _, data = cv2.imencode(suffix, np.zeros((8, 8, 3), np.uint8))
    stated = bytes(data)
    if suffix == ".png":  # IHDR: width and height, after the signature and the chunk's head
        head = b"IHDR" + side.to_bytes(4, "big") * 2 + stated[24:29]
        stated = stated[:12] + head + zlib.crc32(head).to_bytes(4, "big") + stated[33:]
    else:  # SOF0: marker, length, precision, height and width
        at = stated.index(b"\xff\xc0") + 5
        stated = stated[:at] + side.to_bytes(2, "big") * 2 + stated[at + 4 :]
    path.write_bytes(stated)
    with pytest.raises(SourceTooLarge, match="11600x11600 pixels"):
        open_source(str(path))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"x" * 100)
    assert read_at_most(path, 100) == b"x" * 100
    with pytest.raises(OSError, match="larger than 0 MiB"):
        read_at_most(path, 99)
    with pytest.raises(OSError, match="larger than 1 MiB"):
        read_at_most(Path("/dev/zero"), 2**20)
    picture = tmp_path / "sparse.png"
    with picture.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(2**33)
    with pytest.raises(SourceUnreadable, match=r"sparse\.png: larger than 512 MiB"):
        open_source(str(picture))


def test_streams_share_the_pixels_and_give_them_back() -> None:
    budget = PixelBudget(LimitsConfig(frame_pixels=1000, pixels=1500))
    assert budget.room("a") == 1000
    assert budget.take("a", 900) and budget.take("b", 600)
    assert (budget.room("a"), budget.room("b"), budget.room("c")) == (900, 600, 0)
    assert not budget.take("c", 1)
    assert not budget.take("b", 601), "its size changed"
    assert budget.room("c") == 600
    budget.leave("a")
    assert budget.room("c") == 1000
    assert not budget.take("c", 1001)


def test_a_stream_too_large_beside_others_fails_with_one_line_and_goes_on_when_they_left(
    tmp_path: Path,
) -> None:
    frames = 60  # more than wait to be tracked: it is not read to its end before some are
    path = write_clip(tmp_path / "clip.mp4", [gray(10)] * frames)
    budget = PixelBudget(LimitsConfig(frame_pixels=4000, pixels=6000))
    assert budget.take("other", 4000)
    with watched(str(path), options={"pixels": budget}, policy="every") as cam:
        cam.wait_for(StreamState.FAILED)
        error = cam.supervisor.status().error
        assert "64x48 pixels, at most 2000 are decoded" in error
        assert "limits.pixels" in error and "\n" not in error
        budget.leave("other")
        cam.supervisor.resume()
        cam.take(1)
        wait_until(lambda: budget.room("other") == 6000 - 64 * 48, "its room is taken")
        cam.take(frames - 1)
        cam.wait_for(StreamState.ENDED)
        assert budget.room("other") == 4000
