"""Read-ahead of a file: the next frame is encoded while one is tracked."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streams.frame import Frame


class AheadSession(Protocol):
    """The part of `tracker.engine.Session` that reading ahead needs."""

    @property
    def prefetches(self) -> bool:
        """True where `prefetch` does anything."""

    def prefetch(self, image_hwc: NDArray[np.uint8], /) -> None:
        """Begin to encode the picture of the step after the next."""


def read_ahead(frames: Iterable[Frame], session: AheadSession) -> Iterator[Frame]:
    """Give the frames one by one, and let the session begin with the next one early.

    A source that fails does so after its last whole frame was given. Not for live sources, whose
    next frame has yet to come.
    """
    iterator = iter(frames)
    frame = next(iterator, None)
    while frame is not None:
        upcoming, failure = None, None
        try:
            upcoming = next(iterator, None)
        except Exception as err:
            failure = err
        if upcoming is not None and session.prefetches:
            session.prefetch(upcoming.image)
        yield frame
        if failure is not None:
            raise failure
        frame = upcoming
