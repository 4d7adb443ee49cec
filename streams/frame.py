"""Frame: one decoded picture with its timestamps."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture.

    Attributes:
        stream: Name of the stream that it belongs to.
        seq: 0-based place of the frame in its source. A picture of a folder that cannot be decoded
            leaves a gap; every other source counts the frames that it has yielded.
        pts: Presentation time in units of `time_base`, exactly as the source gives it;
            None where the source gives none.
        time_base: Seconds per unit of `pts`; None where the source has no clock.
        captured_ns: Wall clock (`time.time_ns`) when the frame's packet arrived.
        image: Upright picture, uint8 RGB (height, width, 3), C-contiguous. Its size may differ
            from that of the frame before.
        sender_ns: Wall clock of the sender, in ns since 1970, when it took the picture; None
            where the source does not send it. RTSP cameras send it some seconds after they start.
        name: File name of the picture in its folder; None for a frame of a video.
        duration: For how long it is shown, in units of `time_base`; None where unknown.
        sample_aspect_ratio: Width of a pixel of `image` over its height, as it is to be seen.
    """

    stream: str
    seq: int
    pts: int | None
    time_base: Fraction | None
    captured_ns: int
    image: NDArray[np.uint8]
    sender_ns: int | None = None
    name: str | None = None
    duration: int | None = None
    sample_aspect_ratio: Fraction = Fraction(1)

    @property
    def time_s(self) -> float | None:
        """Presentation time in seconds on the source's clock; None where unknown."""
        if self.pts is None or self.time_base is None:
            return None
        return float(self.pts * self.time_base)
