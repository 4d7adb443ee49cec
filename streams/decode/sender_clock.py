"""The wall clock of a camera, from the sender reports (RTCP) that come beside its pictures."""

import struct
from fractions import Fraction

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

_TIME = struct.Struct("=q")  # how FFmpeg's AVProducerReferenceTime begins: microseconds since 1970
_TOLERANCE_US = 5000  # less than the time between two pictures, far more than clocks drift in it
_MOST_STRANGE = 100


class SenderClock:
    """Clock of the sender: when it took each picture.

    FFmpeg puts the sender's time on packets, but with some cameras on the packet before or after
    the right one. The distance between the two clocks tells those apart: it hardly changes from
    one packet to the next. Where it stays changed, the sender has set its clock.
    """

    def __init__(self) -> None:
        self._zero_us: int | None = None  # the sender's time where pts is 0
        self._strange = 0

    def note(self, container: InputContainer, packet: "Packet[Stream]") -> None:
        """Take note of the time that a packet carries, if it carries one."""
        start_us = container.start_time_realtime
        if start_us is None or packet.pts is None or not packet.has_sidedata("prft"):
            return
        (told_us,) = _TIME.unpack_from(bytes(packet.get_sidedata("prft")))
        self.note_zero(told_us - _microseconds(packet.pts, packet.time_base), start_us)

    def at_ns(self, pts: int | None, time_base: Fraction | None) -> int | None:
        """Return the sender's time at a presentation time, in ns since 1970; None if not known."""
        if self._zero_us is None or pts is None or time_base is None:
            return None
        return (self._zero_us + _microseconds(pts, time_base)) * 1000

    def note_zero(self, zero_us: int, start_us: int) -> None:
        """Take note of the sender's time where pts is 0.

        Args:
            zero_us: As a packet gives it, in microseconds since 1970.
            start_us: As the first sender report has it.
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


def _microseconds(pts: int, time_base: Fraction) -> int:
    return round(pts * time_base * 1_000_000)
