"""Frame history: the tracked frames that a prompt may name."""

import statistics
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from tracker.daemon.messages import LiveFrame, RequestError
from tracker.protocol.fields import FrameAddress
from tracker.protocol.replies import ErrorCode

_EXACT = 2**53  # a double holds every integer up to it
_ROUNDED = 1e-13  # of a time: what 14 digits tell apart, the fewest that programs write


@dataclass(frozen=True, slots=True)
class HistoryFrame:
    """A tracked frame: its step in the session, its names, and its size in pixels."""

    step: int
    seq: int
    pts: int | None
    captured_ns: int
    height: int
    width: int
    epoch: str | None = None

    @classmethod
    def of(cls, live: LiveFrame, step: int) -> Self:
        """A live frame, tracked as a step of the session."""
        frame = live.frame
        height, width = frame.image.shape[:2]
        return cls(step, frame.seq, frame.pts, frame.captured_ns, height, width, live.epoch)


class FrameHistory:
    """The newest tracked frames of a stream, oldest first."""

    def __init__(self, limit: int) -> None:
        self._frames: deque[HistoryFrame] = deque(maxlen=limit)

    @property
    def newest(self) -> HistoryFrame | None:
        """The newest frame; None before the first."""
        return self._frames[-1] if self._frames else None

    def add(self, frame: HistoryFrame, *, oldest_step: int) -> None:
        """Take in the newest frame; drop those before `oldest_step`, which the session forgot."""
        self._frames.append(frame)
        while self._frames[0].step < oldest_step:
            self._frames.popleft()

    def find(self, address: FrameAddress | None) -> HistoryFrame:
        """The frame that an address names; the newest for None.

        Raises:
            RequestError: NO_FRAME before the first frame; FRAME_GONE for a frame that is older than
                the history, was never tracked, or is of another epoch.
        """
        newest = self.newest
        if newest is None:
            raise RequestError(
                ErrorCode.NO_FRAME,
                "there is no frame to prompt on yet",
                "wait until the stream sends masks",
            )
        if address is None:
            return newest
        if address.epoch is not None and address.epoch != newest.epoch:
            raise RequestError(
                ErrorCode.FRAME_GONE,
                f"the frame is of epoch {address.epoch}, the daemon is in {newest.epoch}: it was "
                "started again since",
                "name a frame of a masks message that came since",
            )
        found = named_frame(self._frames, address)
        if found is None:
            raise self._gone(address, newest)
        return found

    def _gone(self, address: FrameAddress, newest: HistoryFrame) -> RequestError:
        oldest = self._frames[0]
        ((name, value),) = address.model_dump(exclude_none=True, exclude={"epoch"}).items()
        span = f"seq {oldest.seq}..{newest.seq}"
        if name != "seq":
            span += f" ({name} {getattr(oldest, name)}..{getattr(newest, name)})"
        return RequestError(
            ErrorCode.FRAME_GONE,
            f"the frame of {name} {value} is gone or was never tracked; the history holds {span}",
            "name a frame of a masks message, soon after it came, or raise model.history_frames",
        )


def named_frame(frames: Sequence[HistoryFrame], address: FrameAddress) -> HistoryFrame | None:
    """The frame of these, oldest first, that an address names, of whatever epoch.

    A time names the nearest frame, as long as it is within half a frame interval.
    """
    if address.seq is not None:
        return next((f for f in reversed(frames) if f.seq == address.seq), None)
    if address.captured_ns is not None:
        return _nearest(frames, address.captured_ns, lambda f: f.captured_ns)
    exact = next((f for f in reversed(frames) if f.pts == address.pts), None)
    if exact is None and address.pts is not None and abs(address.pts) >= _EXACT:
        return _nearest(frames, address.pts, lambda f: f.pts)
    return exact


def _nearest(
    frames: Sequence[HistoryFrame], time: int, time_of: Callable[[HistoryFrame], int | None]
) -> HistoryFrame | None:
    """The frame nearest to a time, where that is within half a frame interval.

    The interval is the median of those between tracked frames, each shared out among the frames
    that were dropped there: a pause of the camera does not change it.
    """
    timed = [(f, at) for f in frames if (at := time_of(f)) is not None]
    if not timed:
        return None
    steps = [
        (later - earlier) / max(1, after.seq - before.seq)
        for (before, earlier), (after, later) in pairwise(timed)
    ]
    interval = max(abs(time) * _ROUNDED, statistics.median(steps) if steps else 0)
    frame, at = min(reversed(timed), key=lambda pair: abs(pair[1] - time))
    return frame if 2 * abs(at - time) <= interval else None
