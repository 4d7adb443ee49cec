"""Numbers of frames, none of which is given out twice under the name of a stream.

With a state folder numbers are reserved: the list of streams on the disk holds a bound that no
number given out has reached. After an unclean end all streams go on from the bound, after a clean
one each from its next number. Blocks of `RESERVED` keep the disk out of the frames' way.
"""

import logging
import secrets
from collections.abc import Callable

RESERVED = 10_000
_ASK_LEFT = RESERVED // 2  # so few numbers are left when more are asked for
_ASK_EVERY = RESERVED // 20  # numbers between two such requests, where the disk does not answer

_LOG = logging.getLogger("trackd.numbering")


class Numbering:
    """The frame numbers of all streams of a daemon; any thread may use it.

    Attributes:
        epoch: Names this run of the daemon: epoch and number together name one frame for good,
            also where no state folder keeps the numbers over a restart.
        first: Number of the first frame of a stream whose name is new: what the furthest removed
            stream had reached, so that a name that comes back goes on.
    """

    def __init__(
        self,
        *,
        keeps: bool = False,
        on_low: Callable[[], object] = lambda: None,
        epoch: str | None = None,
    ) -> None:
        """Begin at 0.

        Args:
            keeps: A state folder reserves numbers.
            on_low: Called when few reserved numbers are left; must not wait.
            epoch: That of the daemon, in its workers; a new one where left out.
        """
        self.epoch = epoch or secrets.token_hex(6)
        self.first = 0
        self._on_low = on_low
        self._reserved_to = 0 if keeps else None
        self._ask_at = 0
        self._warned = False

    def start(self, stream: str, first: int | None = None) -> "FrameNumbers":
        """The numbers of a new stream, from `first` on; from `Numbering.first` for None."""
        return FrameNumbers(stream, self.first if first is None else first, self)

    def retire(self, reached: int) -> None:
        """Take note of the next number of a stream that is gone."""
        self.first = max(self.first, reached)

    def reserve(self, bound: int) -> None:
        """Take note that numbers below `bound` are reserved on the disk."""
        if self._reserved_to is not None and bound > self._reserved_to:
            self._reserved_to = bound
            self._ask_at = bound - _ASK_LEFT
            self._warned = False

    def note(self, stream: str, number: int) -> None:
        """Take note of a number that is given out; never waits for the disk."""
        if self._reserved_to is None or number < self._ask_at:
            return
        self._ask_at = number + _ASK_EVERY
        self._on_low()
        if number >= self._reserved_to and not self._warned:
            self._warned = True
            _LOG.error(
                "stream %s: frame numbers from %d on are not reserved, since the state folder "
                "cannot be written; after a crash they would be given out again",
                stream,
                number,
            )


class FrameNumbers:
    """The numbers of one stream's frames, in order.

    Attributes:
        next: Number of the next frame.
    """

    def __init__(
        self, stream: str = "", first: int = 0, numbering: Numbering | None = None
    ) -> None:
        """Begin; without a `numbering` in an epoch of its own."""
        self.next = first
        self._stream = stream
        self._numbering = numbering or Numbering()

    @property
    def epoch(self) -> str:
        """As in `Numbering`."""
        return self._numbering.epoch

    def take(self) -> int:
        """The number of a frame."""
        number = self.next
        self.reach(number + 1)
        return number

    def reach(self, next_seq: int) -> None:
        """Take note that a worker gave out all numbers below `next_seq`."""
        if next_seq > self.next:
            self.next = next_seq
            self._numbering.note(self._stream, next_seq - 1)
