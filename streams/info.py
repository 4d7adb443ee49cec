"""Description of an open source, and its counters."""

from dataclasses import dataclass, field
from fractions import Fraction

#: Pixels of the largest picture that is decoded, 400 MB of RGB; a few bytes can claim far more.
MAX_PIXELS = 2**27


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Description of a source, once its first frame has been decoded.

    Attributes:
        url: The address as given, credentials replaced by `***`.
        width: Width of the first upright frame, in pixels.
        height: Height of the first upright frame, in pixels.
        fps: Average frames per second; None where unknown (an image folder).
        frame_count: Number of frames that the container claims to show; None where it claims
            none. Those that an edit list hides do not count.
        live: True where frames come at the pace of the world and waiting loses them.
    """

    url: str
    width: int
    height: int
    fps: Fraction | None
    frame_count: int | None
    live: bool


#: Names of damaged pictures that are kept: a folder may hold any number of them.
MAX_DAMAGED_NAMES = 20


@dataclass(slots=True)
class SourceStats:
    """Counters of one source, which only grow, and what became of it.

    Attributes:
        frames: Frames yielded.
        packets: Packets to be shown that the decoder took; some hold no picture of their own.
        corrupt_packets: Packets (or image files) that could not be decoded and were skipped.
        decode_s: Seconds spent decoding and converting, not reading or waiting for data.
        damage: Why a finite source ended before its end; None where it did not, or goes on.
        damaged_names: Of the skipped image files, the names of the first `MAX_DAMAGED_NAMES`.
    """

    frames: int = 0
    packets: int = 0
    corrupt_packets: int = 0
    decode_s: float = 0.0
    damage: str | None = None
    damaged_names: list[str] = field(default_factory=list)
