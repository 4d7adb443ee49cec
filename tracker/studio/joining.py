"""Scenes: pictures joined with the masks of the same frame."""

import itertools
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

from tracker.client.received import Picture, Result
from tracker.protocol.fields import PreviewSize
from tracker.studio.scene_message import scene_message

KEPT = 64  # frames whose masks wait for their pictures
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Scene:
    """A picture and what was tracked on it.

    Attributes:
        number: Of all scenes of this program; a page says which it has shown.
    """

    picture: Picture
    result: Result
    number: int

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.result.stream

    @property
    def size(self) -> PreviewSize | None:
        """Size of the picture."""
        return self.picture.message.size

    @cached_property
    def packed(self) -> bytes:
        """The scene as sent; made once, for all pages.

        Raises:
            TrackdError: The masks are damaged.
        """
        return scene_message(self.picture, self.result, self.number)


class SceneJoiner:
    """Pairs the messages of one stream by epoch and number of their frame.

    The masks of a frame come before its pictures, of which there may be several, one a size. The
    masks of the newest `KEPT` frames are kept.
    """

    def __init__(self) -> None:
        self._results: OrderedDict[tuple[str | None, int], Result] = OrderedDict()

    def add(self, received: Result | Picture) -> Scene | None:
        """Take in a message; return the scene that it completes."""
        frame = received.message.frame
        key = (frame.epoch, frame.seq)
        if isinstance(received, Result):
            self._results[key] = received
            if len(self._results) > KEPT:
                self._results.popitem(last=False)
            return None
        result = self._results.get(key)
        return None if result is None else Scene(received, result, next(_NUMBERS))
