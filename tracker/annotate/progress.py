"""Progress of a pass over frames, as it is shown and stopped."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from tracker.annotate.job import Tally

OnFrame = Callable[[Tally], None]


class Progress(Protocol):
    """Shows one pass over the frames, for as long as what it returns is entered."""

    def __call__(
        self, total: int | None, doing: Callable[[Tally], str], /
    ) -> AbstractContextManager[OnFrame]:
        """Give what is called after each frame.

        Args:
            total: Frames to come; None where nobody knows.
            doing: A word for what was done to the newest frame: frame, replay or backward.
        """


def no_progress(
    total: int | None, doing: Callable[[Tally], str]
) -> AbstractContextManager[OnFrame]:
    """Progress that is not shown."""
    return nullcontext(lambda tally: None)


def never() -> bool:
    """A run that nobody stops."""
    return False
