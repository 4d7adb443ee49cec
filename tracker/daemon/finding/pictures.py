"""Newest pictures of a stream, for finders that are asked about a frame."""

from collections import deque

from tracker.daemon.messages import LiveFrame, RequestError
from tracker.daemon.tracking.frame_history import HistoryFrame, named_frame
from tracker.protocol.fields import FrameAddress
from tracker.protocol.replies import ErrorCode

#: Of the pictures of a stream with a finder; the newest is held whatever its size.
MAX_BYTES = 32 * 2**20


class RecentPictures:
    """The newest tracked frames of a stream, oldest first.

    Args:
        max_bytes: Of their pictures together; the newest is held whatever its size.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._frames: deque[LiveFrame] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, live: LiveFrame) -> None:
        """Take in the newest frame; the oldest go."""
        self._frames.append(live)
        self._bytes += live.frame.image.nbytes
        while len(self._frames) > 1 and self._bytes > self._max_bytes:
            self._bytes -= self._frames.popleft().frame.image.nbytes

    def find(self, address: FrameAddress | None) -> LiveFrame:
        """The frame that an address names; the newest for None.

        Raises:
            RequestError: NO_FRAME before the first; FRAME_GONE where its picture is not held.
        """
        if not self._frames:
            raise RequestError(
                ErrorCode.NO_FRAME,
                "there is no frame to look at yet",
                "wait until the stream sends masks",
            )
        if address is None:
            return self._frames[-1]
        epoch = address.epoch
        held = [one for one in self._frames if epoch is None or one.epoch == epoch]
        found = named_frame([HistoryFrame.of(one, i) for i, one in enumerate(held)], address)
        if found is None:
            oldest, newest = (self._frames[i].frame.seq for i in (0, -1))
            raise RequestError(
                ErrorCode.FRAME_GONE,
                f"the picture of that frame is not held; those of seq {oldest}..{newest} are",
                "ask about the newest frame, sooner, or on a stream with a find:",
            )
        return held[found.step]
