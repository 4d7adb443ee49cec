"""Small valid media files of many codecs and containers, made by PyAV and Pillow."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray
from PIL import Image

CORPUS = Path(__file__).parent / "corpus"
_FRAMES = 8
_FPS = 25


@dataclass(frozen=True, slots=True)
class Recipe:
    """Recipe by which one seed is encoded."""

    name: str
    codec: str
    container: str
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = (64, 48)
    options: dict[str, str] = field(default_factory=dict)


_QUIET_X265 = {"x265-params": "log-level=none", "preset": "ultrafast"}

RECIPES = (
    Recipe("h264.mp4", "libx264", "mp4"),
    Recipe("h264-fragments.mp4", "libx264", "mp4"),
    Recipe("h264.mkv", "libx264", "matroska"),
    Recipe("h264.ts", "libx264", "mpegts"),
    Recipe("h264.flv", "libx264", "flv"),
    Recipe("h264.h264", "libx264", "h264"),
    Recipe("hevc.mp4", "libx265", "mp4", options=_QUIET_X265),
    Recipe("hevc.hevc", "libx265", "hevc", options=_QUIET_X265),
    Recipe("vp8.webm", "libvpx", "webm"),
    Recipe("vp8.ogv", "libvpx", "ogg"),
    Recipe("vp9.webm", "libvpx-vp9", "webm"),
    Recipe("mpeg4.avi", "mpeg4", "avi"),
    Recipe("mpeg4.m4v", "mpeg4", "m4v"),
    Recipe("mpeg2.mpg", "mpeg2video", "mpeg"),
    Recipe("mpeg2.mxf", "mpeg2video", "mxf"),
    Recipe("mpeg1.mpg", "mpeg1video", "mpeg"),
    Recipe("h263.3gp", "h263", "3gp", size=(128, 96)),
    Recipe("wmv2.wmv", "wmv2", "asf"),
    Recipe("flv1.flv", "flv", "flv"),
    Recipe("rv10.rm", "rv10", "rm"),
    Recipe("mjpeg.avi", "mjpeg", "avi", "yuvj420p"),
    Recipe("mjpeg.mjpeg", "mjpeg", "mjpeg", "yuvj420p"),
    Recipe("prores.mov", "prores", "mov", "yuv422p10le"),
    Recipe("ffv1.mkv", "ffv1", "matroska"),
    Recipe("ffv1-10bit.nut", "ffv1", "nut", "yuv422p10le"),
    Recipe("huffyuv.avi", "huffyuv", "avi", "yuv422p"),
    Recipe("utvideo.avi", "utvideo", "avi", "gbrp"),
    Recipe("zmbv.avi", "zmbv", "avi", "bgr0"),
    Recipe("cinepak.avi", "cinepak", "avi", "rgb24"),
    Recipe("svq1.mov", "svq1", "mov", "yuv410p"),
    Recipe("qtrle.mov", "qtrle", "mov", "argb"),
    Recipe("png.mov", "png", "mov", "rgba"),
    Recipe("jpeg2000.mov", "jpeg2000", "mov"),
    Recipe("raw-gray16.nut", "rawvideo", "nut", "gray16le"),
    Recipe("raw.y4m", "wrapped_avframe", "yuv4mpegpipe"),
    Recipe("gif.gif", "gif", "gif", "rgb8"),
    Recipe("apng.png", "apng", "apng", "rgba"),
)


def picture(index: int, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """Return an RGB picture with a square that moves over a gradient."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(20, 220, width, dtype=np.uint8)
    image[..., 2] = np.linspace(220, 20, height, dtype=np.uint8)[:, None]
    left = 4 + 3 * index
    image[height // 4 : height // 2, left : left + width // 4] = (240, 240, 30)
    return image


def encode(recipe: Recipe) -> bytes:
    """Encode a seed.

    Raises:
        av.error.FFmpegError: This build of FFmpeg has no such encoder, or it does not want to.
    """
    file = io.BytesIO()
    fragments = {"movflags": "frag_keyframe+empty_moov"} if "fragments" in recipe.name else {}
    with av.open(file, "w", format=recipe.container, options=fragments) as container:
        video = container.add_stream(recipe.codec, rate=_FPS, options=dict(recipe.options))
        assert isinstance(video, av.VideoStream)
        video.width, video.height = recipe.size
        video.pix_fmt = recipe.pixel_format
        video.codec_context.time_base = Fraction(1, _FPS)
        for index in range(_FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(index, recipe.size), format="rgb24")
            frame.pts = index
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return file.getvalue()


def _still(suffix: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(picture(0)).convert(mode)
    exif = image.getexif()
    exif[0x0112] = 6
    formats = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "avif": "AVIF"}
    image.save(file, formats[suffix], exif=exif, **options)
    return file.getvalue()


def _animation(kind: str) -> bytes:
    file = io.BytesIO()
    first, *others = (Image.fromarray(picture(index)) for index in range(_FRAMES))
    first.save(file, kind, save_all=True, append_images=others, duration=80)
    return file.getvalue()


_PICTURES: dict[str, Callable[[], bytes]] = {
    "exif.jpg": lambda: _still("jpg"),
    "cmyk.jpg": lambda: _still("jpg", "CMYK"),
    "exif.png": lambda: _still("png"),
    "palette.png": lambda: _still("png", "P"),
    "gray16.png": lambda: _still("png", "I;16"),
    "exif.webp": lambda: _still("webp"),
    "lzw.tif": lambda: _still("tif", compression="tiff_lzw"),
    "still.avif": lambda: _still("avif"),
    "animation.webp": lambda: _animation("WEBP"),
    "animation.avif": lambda: _animation("AVIF"),
    "pages.tif": lambda: _animation("TIFF"),
}


def seeds() -> dict[str, bytes]:
    """Return every seed that can be made here, and the corpus, by name."""
    found = {path.name: path.read_bytes() for path in sorted(CORPUS.iterdir())}
    for recipe in RECIPES:
        try:
            found[recipe.name] = encode(recipe)
        except (av.error.FFmpegError, ValueError):  # an encoder that this build lacks
            continue
    for name, make in _PICTURES.items():
        try:
            found[name] = make()
        except (OSError, KeyError, ValueError):  # likewise
            continue
    return found
