"""Numbers of frames, none of which is given out twice under the name of a stream.

With a state folder numbers are reserved: the list of streams on the disk holds, for each, a bound
that no number given out has reached. After an unclean end a stream goes on from its bound, after a
clean one from its next number. Blocks of `RESERVED` keep the disk out of the frames' way.
"""

import logging
import secrets
from collections.abc import Callable

RESERVED = 10_000
_ASK_LEFT = RESERVED // 2  # so few numbers are left when more are asked for
_ASK_EVERY = RESERVED // 20  # frames between two such requests, where the disk does not answer

_LOG = logging.getLogger("trackd.numbering")


class FrameNumbers:
    """The numbers of one stream's frames, in order.

    `take` belongs to who numbers the frames; the rest may be called from any thread.

    Attributes:
        epoch: As in `Numbering`.
        next: Number of the next frame.
    """

    def __init__(
        self,
        stream: str = "",
        first: int = 0,
        *,
        epoch: str | None = None,
        reserved_to: int | None = None,
        on_low: Callable[[], object] = lambda: None,
    ) -> None:
        """Begin.

        Args:
            stream: Its name, for the log.
            first: Number of its first frame.
            epoch: As in `Numbering`.
            reserved_to: Numbers below it are reserved; None where nothing is kept.
            on_low: Called when few reserved numbers are left; must not wait.
        """
        self.epoch = epoch
        self.next = first
        self._stream = stream
        self._reserved_to = reserved_to
        self._on_low = on_low
        self._ask_at = first
        self._told = False

    def take(self) -> int:
        """The number of a frame; never waits, also where the disk refuses to reserve more."""
        number = self.next
        self.next = number + 1
        reserved_to = self._reserved_to
        if reserved_to is not None and number >= reserved_to - _ASK_LEFT:
            self._ask(number, reserved_to)
        return number

    def _ask(self, number: int, reserved_to: int) -> None:
        if number >= self._ask_at:
            self._ask_at = number + _ASK_EVERY
            self._on_low()
        if number >= reserved_to and not self._told:
            self._told = True
            _LOG.error(
                "stream %s: frame numbers from %d on are not reserved, since the state folder "
                "cannot be written; after a crash they would be given out again",
                self._stream,
                number,
            )

    def reserve(self, bound: int) -> None:
        """Take note that numbers below `bound` are reserved on the disk."""
        if self._reserved_to is not None and bound > self._reserved_to:
            self._reserved_to = bound
            self._told = False


class Numbering:
    """The frame numbers of all streams of a daemon.

    Attributes:
        epoch: Names this run of the daemon: epoch and number together name one frame for good,
            also where no state folder keeps the numbers over a restart.
        first: Number of the first frame of a stream whose name is new: what the furthest removed
            stream had reached, so that a name that comes back goes on.
    """

    def __init__(self, *, keeps: bool = False, on_low: Callable[[], object] = lambda: None) -> None:
        """Begin at 0.

        Args:
            keeps: A state folder reserves numbers.
            on_low: As in `FrameNumbers`.
        """
        self.epoch = secrets.token_hex(6)
        self.first = 0
        self._on_low = on_low
        self._reserved_to = 0 if keeps else None

    def start(self, stream: str, first: int | None = None) -> FrameNumbers:
        """The numbers of a new stream, from `first` on; from `Numbering.first` for None."""
        return FrameNumbers(
            stream,
            self.first if first is None else first,
            epoch=self.epoch,
            reserved_to=self._reserved_to,
            on_low=self._on_low,
        )

    def retire(self, reached: int) -> None:
        """Take note of the next number of a stream that is gone."""
        self.first = max(self.first, reached)

    def reserve(self, bound: int) -> None:
        """Take note that numbers below `bound` are reserved for streams that are not listed."""
        if self._reserved_to is not None:
            self._reserved_to = max(self._reserved_to, bound)
