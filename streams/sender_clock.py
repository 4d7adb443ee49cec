"""The wall clock of a camera, from the sender reports (RTCP) that come beside its pictures."""

import struct

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

_TIME = struct.Struct("=q")  # how FFmpeg's AVProducerReferenceTime begins: microseconds since 1970
_TOLERANCE_US = 5000  # less than the time between two pictures, far more than clocks drift in it
_MOST_STRANGE = 100


class SenderClock:
    """Tells when the sender took a picture, by its own clock.

    FFmpeg puts the sender's time on packets, but with some cameras on the packet before or after
    the right one. The distance between the two clocks tells those apart: it hardly changes from
    one packet to the next. Where it stays changed, the sender has set its clock.
    """

    def __init__(self) -> None:
        self._zero_us: int | None = None  # the sender's time where pts is 0
        self._strange = 0

    def sender_ns(self, container: InputContainer, packet: "Packet[Stream]") -> int | None:
        """Return the sender's time of a packet, in ns since 1970; None where it is not known."""
        if packet.pts is None:
            return None
        pts_us = round(packet.pts * packet.time_base * 1_000_000)
        start_us = container.start_time_realtime
        if start_us is not None and packet.has_sidedata("prft"):
            (told_us,) = _TIME.unpack_from(bytes(packet.get_sidedata("prft")))
            self.note(told_us - pts_us, start_us)
        return None if self._zero_us is None else (self._zero_us + pts_us) * 1000

    def note(self, zero_us: int, start_us: int) -> None:
        """Take note of the sender's time where pts is 0.

        Args:
            zero_us: As this packet tells it, in microseconds since 1970.
            start_us: As the first sender report told it.
        """
        if self._zero_us is None:
            self._zero_us = start_us
        if abs(zero_us - self._zero_us) <= _TOLERANCE_US:
            self._strange = 0
        else:
            self._strange += 1
            if self._strange <= _MOST_STRANGE:
                return
        self._zero_us = zero_us
