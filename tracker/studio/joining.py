"""Scenes: pictures joined with the masks of the same frame."""

import itertools
from dataclasses import dataclass
from functools import cached_property

from tracker.client.joining import FrameJoiner
from tracker.client.received import Picture, Result
from tracker.protocol.fields import PreviewSize
from tracker.studio.scene_message import scene_message

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
    """Numbers the scenes of one stream; see `FrameJoiner`."""

    def __init__(self) -> None:
        self._frames = FrameJoiner()

    def add(self, received: Result | Picture) -> Scene | None:
        """Take in a message; return the scene that it completes."""
        joined = self._frames.add(received)
        return None if joined is None else Scene(*joined, next(_NUMBERS))
