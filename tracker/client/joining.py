"""Pictures joined with the masks of the same frame."""

from collections import OrderedDict
from dataclasses import replace

from tracker.client.received import Picture, Result

KEPT = 64  # frames whose masks wait for their pictures


class FrameJoiner:
    """Pairs the messages of one stream by epoch and number of their frame.

    The masks of a frame come before its pictures, of which there may be several, one a size. The
    masks of the newest `KEPT` frames are kept.

    Attributes:
        unpaired: Pictures whose masks were not there.
    """

    def __init__(self) -> None:
        self.unpaired = 0
        self._results: OrderedDict[tuple[str | None, int], Result] = OrderedDict()

    def add(self, received: Result | Picture) -> tuple[Picture, Result] | None:
        """Take in a message; return the pair that it completes."""
        frame = received.message.frame
        key = (frame.epoch, frame.seq)
        if isinstance(received, Result):
            self._results[key] = received
            if len(self._results) > KEPT:
                self._results.popitem(last=False)
            return None
        result = self._results.get(key)
        if result is None:
            self.unpaired += 1
            return None
        return received, replace(result)  # masks that are decoded go with the pair
