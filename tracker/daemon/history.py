"""The tracked frames that a prompt may name."""

from collections import deque
from dataclasses import dataclass

from tracker.daemon.values import Refused
from tracker.protocol.fields import FrameAddress
from tracker.protocol.replies import ErrorCode


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A tracked frame: its step in the session, its names, and its size in pixels."""

    step: int
    seq: int
    pts: int | None
    captured_ns: int
    height: int
    width: int


class FrameHistory:
    """The newest tracked frames of a stream, oldest first."""

    def __init__(self, limit: int) -> None:
        self._frames: deque[SeenFrame] = deque(maxlen=limit)

    @property
    def newest(self) -> SeenFrame | None:
        """The newest frame; None before the first."""
        return self._frames[-1] if self._frames else None

    def add(self, frame: SeenFrame, *, oldest_step: int) -> None:
        """Take in the newest frame; drop those before `oldest_step`, which the session forgot."""
        self._frames.append(frame)
        while self._frames[0].step < oldest_step:
            self._frames.popleft()

    def find(self, address: FrameAddress | None) -> SeenFrame:
        """The frame that an address names; the newest for None.

        Raises:
            Refused: NO_FRAME before the first frame; FRAME_GONE for a frame that is older than the
                history, or was never tracked.
        """
        newest = self.newest
        if newest is None:
            raise Refused(
                ErrorCode.NO_FRAME,
                "there is no frame to prompt on yet",
                "wait until the stream sends masks",
            )
        if address is None:
            return newest
        found = next((f for f in reversed(self._frames) if _names(address, f)), None)
        if found is None:
            raise self._gone(address, newest)
        return found

    def _gone(self, address: FrameAddress, newest: SeenFrame) -> Refused:
        oldest = self._frames[0]
        ((name, value),) = address.model_dump(exclude_none=True).items()
        span = f"seq {oldest.seq}..{newest.seq}"
        if name != "seq":
            span += f" ({name} {getattr(oldest, name)}..{getattr(newest, name)})"
        return Refused(
            ErrorCode.FRAME_GONE,
            f"the frame of {name} {value} is gone or was never tracked; the history holds {span}",
            "name a frame of a masks message, soon after it came, or raise model.history_frames",
        )


def _names(address: FrameAddress, frame: SeenFrame) -> bool:
    if address.seq is not None:
        return frame.seq == address.seq
    if address.pts is not None:
        return frame.pts == address.pts
    return address.captured_ns is not None and frame.captured_ns <= address.captured_ns
