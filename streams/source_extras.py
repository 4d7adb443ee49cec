"""Sound, colours, rotation and titles of a video file, for another video made of its frames."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.codec import Codec
from av.container import InputContainer, OutputContainer

from streams.access.formats import SELF_CONTAINED
from streams.video_formats import VideoFormat

#: Titles that are copied. A place is not: who blurs faces does not want it told.
_TITLES = ("title", "artist", "album", "date", "comment", "copyright", "description", "genre")
_UNSPECIFIED = 2  # FFmpeg's code of unknown colours
_USUAL_RATE = 48000  # which all encoders take


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
    """The first sound track of a file that can be decoded, copied beside the pictures made of it.

    Whatever is wrong with the sound costs the sound alone; `notes` tell what is left out.
    """

    def __init__(self, path: Path, output: OutputContainer, kind: VideoFormat) -> None:
        """Open the file, and add a stream to the output if there is sound.

        Packets are copied as they are where the container holds their codec, else encoded again,
        in mono or stereo.

        Args:
            path: The file.
            output: The container, whose header is not written yet.
            kind: What it is.
        """
        self._input = _opened(path)
        self._output = output
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None
        self._last_pts: int | None = None
        self._is_encoded = False
        self._fault: str | None = None
        self._left_out = 0
        video = self._input.streams.video[0]
        self._video_end_s = _end_s(video)
        # A stream of a codec that FFmpeg does not know has no context.
        known = [sound for sound in self._input.streams.audio if sound.codec_context is not None]
        if not known:
            if self._input.streams.audio:
                self._fault = "sound is left out: FFmpeg does not know its codec"
            return
        source = known[0]
        self._packets = _demuxed(self._input, source)
        self._stream: AudioStream
        if _can_be_copied(path, source.index, kind):
            self._stream = output.add_stream_from_template(source)
        else:
            self._stream = _encoding(output, kind.audio_encoder, source)
            self._is_encoded = True

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines about sound that is left out."""
        if self._fault is not None:
            return (self._fault,)
        if not self._left_out:
            return ()
        packets = "1 packet" if self._left_out == 1 else f"{self._left_out} packets"
        return (f"{packets} of sound left out: damaged, or without a time of its own",)

    def copy_until(self, until_s: float, origin_s: float) -> None:
        """Copy the sound before `until_s`, a time of the source whose `origin_s` is 0 here."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                return
            if packet.pts is None or (self._last_pts is not None and packet.pts <= self._last_pts):
                self._left_out += 1
                continue
            begins_s = float(packet.pts * packet.time_base)
            if begins_s >= until_s:
                self._waiting = packet
                return
            self._last_pts = packet.pts
            # One packet before the first: decoders of AAC and Opus need it to begin with.
            if begins_s + 2 * float((packet.duration or 0) * packet.time_base) > origin_s:
                self._copy(packet, origin_s)

    def finish(self, end_s: float, origin_s: float) -> None:
        """Copy the rest: up to `end_s`, or all where the pictures went to the end of the file."""
        is_whole = self._video_end_s is not None and end_s >= self._video_end_s - 0.1
        self.copy_until(float("inf") if is_whole else end_s, origin_s)
        if self._is_encoded:
            self._output.mux(self._encoded(None))
        self._input.close()

    def close(self) -> None:
        """Close the file."""
        self._input.close()

    def _copy(self, packet: Any, origin_s: float) -> None:
        shift = round(Fraction(origin_s).limit_denominator(10**6) / packet.time_base)
        if not self._is_encoded:
            packet.pts -= shift
            packet.dts = packet.pts
            packet.stream = self._stream
            try:
                self._output.mux(packet)
            except av.error.InvalidDataError:  # of the packet; a full disk is another error
                self._left_out += 1
            return
        try:
            decoded = packet.decode()
        except av.error.FFmpegError:
            self._left_out += 1
            return
        for frame in decoded:
            if frame.pts is not None:
                frame.pts -= shift
            self._output.mux(self._encoded(frame))

    def _encoded(self, frame: AudioFrame | None) -> list[Any]:
        """Packets of a frame, or the last ones; none once the encoder failed."""
        if self._fault is not None:
            return []
        try:
            return self._stream.encode(frame)
        except (av.error.FFmpegError, ValueError) as error:
            self._fault = f"sound ends early: {error}"
            self._packets = iter(())
            return []


def _can_be_copied(path: Path, stream_index: int, kind: VideoFormat) -> bool:
    """True where a container takes a sound as it is, by a trial in memory.

    Lists of codecs do not tell: MOV refuses FLAC in its header, and MP4 PCM of a nameless layout
    in its trailer.
    """
    try:
        with _opened(path) as source, av.open(BytesIO(), "w", format=kind.container) as trial:
            sound = source.streams[stream_index]
            assert isinstance(sound, AudioStream)
            stream = trial.add_stream_from_template(sound)
            packet = next(packet for packet in _demuxed(source, sound) if packet.pts is not None)
            packet.dts = packet.pts
            packet.stream = stream
            trial.mux(packet)
    except (av.error.FFmpegError, ValueError, StopIteration):
        return False
    return True


def _encoding(output: OutputContainer, encoder: str, source: AudioStream) -> AudioStream:
    """A stream of an output for sound that is encoded again: not all encoders take all layouts."""
    rates = Codec(encoder, "w").audio_rates
    rate = source.rate if rates is None or source.rate in rates else _USUAL_RATE
    stream = output.add_stream(encoder, rate=rate)
    assert isinstance(stream, AudioStream)
    stream.layout = "mono" if source.layout.nb_channels == 1 else "stereo"
    return stream


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
