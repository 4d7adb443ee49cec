"""Kinds of video files that are written, and the encoders that make them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache

import av.error
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

#: H.264 encoders of graphics cards and processors, in the order in which they are tried.
HARDWARE_ENCODERS = ("h264_nvenc", "h264_videotoolbox", "h264_qsv", "h264_amf")

_PROBE_PX = 256


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """Container and encoder of a video.

    Attributes:
        container: FFmpeg's name of it.
        encoder: FFmpeg's name of it.
        pixel_format: Of pictures without alpha.
        alpha_format: Of pictures with alpha; "" where there are none.
        options: Of the encoder.
        container_options: Of the container.
        audio_encoder: For sound that the container does not hold as it is.
    """

    container: str
    encoder: str
    pixel_format: str
    alpha_format: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)
    audio_encoder: str = "aac"


MP4 = VideoFormat(
    "mp4",
    "libx264",
    "yuv420p",
    # x264's macroblock tree reads memory that it never wrote: other bytes on every run.
    options={"crf": "20", "preset": "veryfast", "x264-params": "mbtree=0:bframes=0"},
    container_options={"movflags": "+faststart"},
)
MOV = VideoFormat(
    "mov",
    "prores_ks",
    "yuv444p10le",
    "yuva444p10le",
    options={"profile": "4444", "vendor": "apl0"},
)
WEBM = VideoFormat(
    "webm",
    "libvpx-vp9",
    "yuv420p",
    "yuva420p",
    options={
        "crf": "24",
        "b": "0",
        "deadline": "good",
        "cpu-used": "5",
        "row-mt": "1",
        "auto-alt-ref": "0",
    },
    audio_encoder="libopus",
)

#: Formats by the suffix of the file.
FORMATS: Mapping[str, VideoFormat] = {".mp4": MP4, ".mov": MOV, ".webm": WEBM}


def hardware_mp4() -> VideoFormat | None:
    """MP4 by the first encoder in hardware that opens; None where there is none."""
    encoder = _hardware_encoder()
    if encoder is None:
        return None
    return replace(MP4, encoder=encoder, options={"b": "12M"})


@cache
def _hardware_encoder() -> str | None:
    for name in HARDWARE_ENCODERS:
        try:
            context = CodecContext.create(name, "w")
            assert isinstance(context, VideoCodecContext)
            context.width = context.height = _PROBE_PX
            context.pix_fmt, context.framerate = "yuv420p", Fraction(30)
            context.time_base = Fraction(1, 30)
            context.open()
        except (av.error.FFmpegError, ValueError):
            continue
        return name
    return None
