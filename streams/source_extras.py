"""Sound, colours, rotation and titles of a video file, for another video made of its frames."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from streams.access.formats import SELF_CONTAINED
from streams.video_formats import VideoFormat

#: Titles that are copied. A place is not: who blurs faces does not want it told.
_TITLES = ("title", "artist", "album", "date", "comment", "copyright", "description", "genre")
_UNSPECIFIED = 2  # FFmpeg's code of unknown colours
_OPUS_RATE = 48000


@dataclass(frozen=True, slots=True)
class Appearance:
    """How a video is to be shown.

    Attributes:
        primaries: FFmpeg's code of the colour primaries; None where the file tells none.
        transfer: FFmpeg's code of the transfer curve; likewise.
        rotation_deg: Counter-clockwise quarter turns of its pictures.
        titles: Its metadata.
    """

    primaries: int | None = None
    transfer: int | None = None
    rotation_deg: int = 0
    titles: Mapping[str, str] = field(default_factory=dict)


def read_appearance(path: Path) -> Appearance:
    """The appearance of a video file; that of nothing special where it cannot be read."""
    with suppress(av.error.FFmpegError, StopIteration, IndexError), _opened(path) as container:
        video = container.streams.video[0]
        frame = next(container.decode(video))
        rotation = 0
        with suppress(ValueError, OverflowError):
            rotation = round(frame.rotation / 90) * 90 % 360
        titles = {key: value for key, value in container.metadata.items() if key in _TITLES}
        return Appearance(
            _known(video.codec_context.color_primaries),
            _known(video.codec_context.color_trc),
            rotation,
            titles,
        )
    return Appearance()


def open_sound(path: Path, output: OutputContainer, kind: VideoFormat) -> "SoundTrack | None":
    """The sound of a file, to go into an output; None where it cannot be read."""
    try:
        return SoundTrack(path, output, kind)
    except (av.error.FFmpegError, OSError, IndexError):
        return None


class SoundTrack:
    """The first sound track of a file, copied beside the pictures that were made of it."""

    def __init__(self, path: Path, output: OutputContainer, kind: VideoFormat) -> None:
        """Open the file, and add a stream to the output if there is sound.

        Packets are copied as they are where the container holds their codec, else encoded again.

        Args:
            path: The file.
            output: The container, whose header is not written yet.
            kind: What it is.
        """
        self._input = _opened(path)
        self._output = output
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None
        self._resampler: AudioResampler | None = None
        video = self._input.streams.video[0]
        self._video_end_s = _end_s(video)
        if not self._input.streams.audio:
            return
        source = self._input.streams.audio[0]
        self._packets = _demuxed(self._input, source)
        self._stream: AudioStream
        if source.codec_context.codec.canonical_name in output.supported_codecs:
            self._stream = output.add_stream_from_template(source)
        else:
            rate = _OPUS_RATE if kind.audio_encoder == "libopus" else source.rate
            stream = output.add_stream(kind.audio_encoder, rate=rate)
            assert isinstance(stream, AudioStream)
            stream.layout = source.layout.name
            self._stream = stream
            self._resampler = AudioResampler(
                stream.format,
                stream.layout,
                rate,
                frame_size=stream.codec_context.frame_size or 960,
            )

    def copy_until(self, until_s: float, origin_s: float) -> None:
        """Copy the sound before `until_s`, a time of the source whose `origin_s` is 0 here."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                return
            begins_s = float(packet.pts * packet.time_base) if packet.pts is not None else origin_s
            if begins_s >= until_s:
                self._waiting = packet
                return
            # One packet before the first: decoders of AAC and Opus need it to begin with.
            if begins_s + 2 * float(packet.duration * packet.time_base) > origin_s:
                self._copy(packet, origin_s)

    def finish(self, end_s: float, origin_s: float) -> None:
        """Copy the rest: up to `end_s`, or all where the pictures went to the end of the file."""
        is_whole = self._video_end_s is not None and end_s >= self._video_end_s - 0.1
        self.copy_until(float("inf") if is_whole else end_s, origin_s)
        if self._resampler is not None:
            for frame in self._resampler.resample(None):
                self._output.mux(self._stream.encode(frame))
            self._output.mux(self._stream.encode(None))
        self._input.close()

    def close(self) -> None:
        """Close the file."""
        self._input.close()

    def _copy(self, packet: Any, origin_s: float) -> None:
        shift = round(Fraction(origin_s).limit_denominator(10**6) / packet.time_base)
        if self._resampler is None:
            packet.pts -= shift
            packet.dts = packet.pts
            packet.stream = self._stream
            self._output.mux(packet)
            return
        for decoded in packet.decode():
            if decoded.pts is not None:
                decoded.pts -= shift
            for frame in self._resampler.resample(decoded):
                self._output.mux(self._stream.encode(frame))


def _opened(path: Path) -> InputContainer:
    # "file:" keeps a name such as "a:b.mp4" from being taken for a protocol.
    options = {"protocol_whitelist": "file", "format_whitelist": SELF_CONTAINED}
    return av.open(f"file:{path}", options=options, metadata_errors="replace")


def _demuxed(container: InputContainer, sound: AudioStream) -> Iterator[Any]:
    """The packets of a sound track, up to damage."""
    with suppress(av.error.FFmpegError):
        yield from (packet for packet in container.demux(sound) if packet.size)


def _known(code: int) -> int | None:
    return code if code not in (0, _UNSPECIFIED) else None


def _end_s(video: Any) -> float | None:
    if video.duration is None or video.time_base is None:
        return None
    return float(((video.start_time or 0) + video.duration) * video.time_base)
