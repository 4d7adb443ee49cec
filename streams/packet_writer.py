"""Packets copied into a video file, in fragments that each are complete on the disk."""

from collections.abc import Callable
from typing import Any, cast

import av
import av.error
from av.packet import Packet

from streams.errors import WriterError
from streams.packet_tap import StreamTemplate, VideoPacket

#: What players expect in MP4, and FFmpeg can put there.
_IN_MP4 = frozenset(
    {"h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg", "mpeg1video", "mpeg2video", "vvc"}
)
#: Pictures that are not compressed: nothing that could be called a camera's packets.
_RAW = frozenset({"rawvideo", "wrapped_avframe", "v210", "v308", "v408", "y41p", "yuv4"})
_FRAGMENT_S = 1
_MP4 = {
    "movflags": "empty_moov+default_base_moof",
    "frag_duration": str(_FRAGMENT_S * 1_000_000),
    "flush_packets": "1",
}
_MATROSKA = {"live": "1", "cluster_time_limit": str(_FRAGMENT_S * 1000), "flush_packets": "1"}
_REORDERED_S = 1  # farther than any picture is shown after it is decoded


def container_of(codec: str) -> str:
    """The container, "mp4" or "matroska", that packets of a codec are copied into.

    MP4 where it holds the codec, since everything plays it; Matroska holds the rest.

    Raises:
        WriterError: The pictures are not compressed.
    """
    if codec in _RAW:
        raise WriterError(
            f"pictures that are not compressed ({codec}) are not recorded",
            "ask a webcam for input_format=mjpeg or h264",
        )
    return "mp4" if codec in _IN_MP4 else "matroska"


class PacketWriter:
    """One video file of copied packets, fragmented MP4 or Matroska; nothing is encoded.

    A fragment of about a second is handed on whole: where the process ends at any moment, what
    was handed on before can be decoded. The first one comes with the header, so there is no file
    without a picture. Times begin at 0; `first_dts` added to them gives those of the source.

    Args:
        template: The codec's parameters.
        first: The packet that it begins with, a key frame; `mux` is to be given it, too.
        write: Takes the bytes, in order.

    Raises:
        WriterError: Packets of this codec cannot be copied.

    Attributes:
        first_dts: In units of `time_base`.
        time_base: Of the packets.
    """

    def __init__(
        self, template: StreamTemplate, first: VideoPacket, write: Callable[[bytes], None]
    ) -> None:
        self.time_base = first.time_base
        self._reordered = int(_REORDERED_S / first.time_base)
        begins = first.pts - self._reordered if first.dts is None else first.dts
        self.first_dts = min(begins, first.pts)
        self._write = write
        self._pending = _Pending()
        kind = container_of(template.codec)
        self._container = av.open(
            cast(Any, self._pending),  # PyAV's type of a file has more methods than it calls
            "w",
            format=kind,
            options=_MP4 if kind == "mp4" else _MATROSKA,
        )
        try:
            self._stream = template.add_to(self._container)
        except ValueError as error:
            raise WriterError(f"{template.codec} cannot be copied: {error}") from error
        self._stream.time_base = first.time_base
        self._last_dts: int | None = None

    @property
    def has_begun(self) -> bool:
        """True once a first packet was muxed."""
        return self._last_dts is not None

    def mux(self, packet: VideoPacket) -> None:
        """Copy a packet; hands on the fragment before it, where that is complete.

        Raises:
            WriterError: The container cannot hold it.
            OSError: From `write`.
        """
        copy: Packet[Any] = Packet(packet.data)
        copy.time_base = packet.time_base
        copy.pts = packet.pts - self.first_dts
        copy.dts = self._dts(packet)
        copy.duration = packet.duration
        copy.is_keyframe = packet.is_key
        copy.stream = self._stream
        begins = not self.has_begun
        header = len(self._pending.data)
        try:
            self._container.mux(copy)
        except (av.error.FFmpegError, ValueError) as error:
            raise WriterError(f"a packet cannot be copied: {error}") from error
        self._last_dts = copy.dts
        if not begins and len(self._pending.data) > header:
            self._hand_on()

    def close(self) -> None:
        """Hand on the rest; raises as `mux`."""
        try:
            self._container.close()
        except av.error.FFmpegError as error:
            raise WriterError(f"a video cannot be ended: {error}") from error
        self._hand_on()

    def _dts(self, packet: VideoPacket) -> int:
        """The decoding time, always later than the one before; made up where there is none."""
        if packet.dts is not None:
            dts = packet.dts - self.first_dts
        else:
            dts = packet.pts - self.first_dts - self._reordered
        return dts if self._last_dts is None else max(dts, self._last_dts + 1)

    def _hand_on(self) -> None:
        data, self._pending.data = bytes(self._pending.data), bytearray()
        if data:
            self._write(data)


class _Pending:
    """File that FFmpeg appends to, in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        """Append; FFmpeg cannot seek here."""
        self.data += data
        return len(data)


def suffix_of(codec: str) -> str:
    """Suffix of the files that `PacketWriter` writes for a codec; raises as `container_of`."""
    return {"mp4": ".mp4", "matroska": ".mkv"}[container_of(codec)]
