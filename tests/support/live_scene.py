"""The moving square as frames of a live stream."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from streams.frame import Frame
from tests.support.moving_scene import frame, square
from tracker.daemon.messages import LiveFrame, PromptCommand, Tracked
from tracker.protocol.fields import RleMask, StreamSettings
from tracker.rle import encode_rle

SETTINGS = StreamSettings(url="lavfi:testsrc2")
PTS_STEP, NS_STEP = 3000, 40_000_000


def live(
    seq: int, image: NDArray[np.uint8] | None = None, *, stream: str = "cam", pts: int | None = None
) -> LiveFrame:
    """Frame `seq` of the scene, on which the square is `seq` pixels along."""
    picture = frame(seq) if image is None else image
    pts = PTS_STEP * seq if pts is None else pts
    one = Frame(stream, seq, pts, Fraction(1, 90000), NS_STEP * seq, picture)
    return LiveFrame(one, None, 0.004, arrived_s=10.0, queued_s=10.1, epoch="ab")


def rle(mask_hw: NDArray[np.bool_]) -> RleMask:
    encoded = encode_rle(mask_hw)
    return RleMask(size=(encoded.height, encoded.width), counts=encoded.counts)


def drawn(seq: int, object_id: int | None = None, **more: object) -> PromptCommand:
    """The square as it is on frame `seq`, drawn as a mask."""
    return PromptCommand(object_id, mask=rle(square(seq)), **more)


def masks(tracked: Tracked) -> list[NDArray[np.bool_]]:
    return [obj.mask_hw for obj in tracked.result.objects]


def iou(ours_hw: NDArray[np.bool_], theirs_hw: NDArray[np.bool_]) -> float:
    union = (ours_hw | theirs_hw).sum()
    return float((ours_hw & theirs_hw).sum() / union) if union else 1.0
