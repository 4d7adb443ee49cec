"""Packets of a video as they came, for whoever copies them without decoding."""

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from streams.decode.arrival_clock import TIME_BASE, ArrivalClock

_MAX_UNTIMED = 16


@dataclass(frozen=True, slots=True)
class VideoPacket:
    """One compressed packet, apart from the input that it came from.

    Attributes:
        data: Its bytes.
        pts: Presentation time in units of `time_base`; the same as `Frame.pts` of its picture.
        dts: Decoding time in the same units; None where the source gives none.
        duration: In the same units; 0 where unknown.
        time_base: Seconds per unit.
        is_key: Decoding can begin here.
    """

    data: bytes
    pts: int
    dts: int | None
    duration: int
    time_base: Fraction
    is_key: bool


class StreamTemplate:
    """Codec parameters of a video, copied: they outlive the input.

    Attributes:
        codec: FFmpeg's name of the codec, such as "h264".
    """

    def __init__(self, video: VideoStream) -> None:
        self.codec = video.codec_context.codec.canonical_name
        # PyAV copies parameters from stream to stream only: this container is never written.
        self._holder = av.open(io.BytesIO(), "w", format="matroska")
        self._stream = self._holder.add_stream_from_template(video, opaque=True)

    def add_to(self, container: OutputContainer) -> Stream:
        """Add a stream with these parameters, for packets to be copied into."""
        return container.add_stream_from_template(self._stream, opaque=True)


class PacketTap(Protocol):
    """Receiver of a source's packets; called by the thread that reads them, and must not wait.

    The template says which opening of the source a packet is of.
    """

    def opened(self, template: StreamTemplate) -> bool:
        """A source is open; its packets follow where this returns True."""

    def packet(self, template: StreamTemplate, packet: VideoPacket) -> None:
        """A packet came; it is decoded next."""

    def closed(self, template: StreamTemplate) -> None:
        """No more packets come of this opening."""

    def refused(self, reason: str) -> None:
        """The source has no packets that can be copied."""


class TappedVideo:
    """The packets of one opening of a source, copied and given to a tap under their times.

    A camera's first packets may have no time: they get theirs from the first that has one.

    Args:
        tap: Takes the packets.
        video: Where they come from.
        clock: Of a source without a clock: the times are those when the packets arrived.
    """

    def __init__(self, tap: PacketTap, video: VideoStream, clock: ArrivalClock | None) -> None:
        self._tap = tap
        self._clock = clock
        self._untimed: list[Packet[Stream]] = []
        self._template = _offered(tap, video)

    def offer(self, packet: "Packet[Stream]", arrived_ns: int) -> None:
        """Give the tap a copy of a packet that arrived then, by the monotonic clock."""
        if self._template is None:
            return
        is_timed = packet.pts is not None or packet.dts is not None
        if self._clock is None and not is_timed and len(self._untimed) >= _MAX_UNTIMED:
            self._clock = ArrivalClock()  # it gives no times at all
        if self._clock is not None:
            for one in (*self._untimed, packet):
                pts = self._clock.pts(arrived_ns)
                self._give(one, pts, pts, TIME_BASE)
            self._untimed.clear()
        elif is_timed:
            pts = packet.pts if packet.pts is not None else packet.dts or 0
            self._give_untimed(pts, packet)
            self._give(packet, pts, packet.dts, packet.time_base)
        else:
            self._untimed.append(packet)

    def _give_untimed(self, pts: int, timed: "Packet[Stream]") -> None:
        """Give the packets that waited, under times before that of the one that has a time."""
        for index, packet in enumerate(self._untimed):
            before = (len(self._untimed) - index) * (timed.duration or 1)
            self._give(packet, pts - before, None, timed.time_base)
        self._untimed.clear()

    def _give(
        self, packet: "Packet[Stream]", pts: int, dts: int | None, time_base: Fraction
    ) -> None:
        assert self._template is not None
        duration = 0 if self._clock is not None else packet.duration or 0
        copy = VideoPacket(bytes(packet), pts, dts, duration, time_base, packet.is_keyframe)
        self._tap.packet(self._template, copy)

    def close(self) -> None:
        """Tell the tap that no more come; once."""
        template, self._template = self._template, None
        if template is not None:
            self._tap.closed(template)


def _offered(tap: PacketTap, video: VideoStream) -> StreamTemplate | None:
    """Offer the packets of a video to a tap; None where it does not take them."""
    try:
        template = StreamTemplate(video)
    except ValueError:  # from PyAV: no container holds it
        codec = video.codec_context.codec.canonical_name
        tap.refused(f"pictures that are not compressed ({codec}) are not recorded")
        return None
    return template if tap.opened(template) else None
