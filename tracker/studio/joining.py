"""Pictures with the masks that belong to them: `frames` and `masks` messages joined by frame."""

from collections import OrderedDict
from dataclasses import dataclass

from tracker.client.received import Picture, Result

KEPT = 128  # frames of which only one message came


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and what was tracked on it."""

    picture: Picture
    result: Result


class SceneJoiner:
    """Pairs the messages of one stream by epoch and number of their frame.

    At most `KEPT` frames wait for their other message; the oldest goes. What is older than a scene
    that was found is dropped: it would never be shown.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[str | None, int], Result | Picture] = OrderedDict()

    def add(self, received: Result | Picture) -> Scene | None:
        """Take in a message; return the scene that it completes."""
        frame = received.message.frame
        key = (frame.epoch, frame.seq)
        other = self._waiting.pop(key, None)
        if isinstance(received, Picture) and isinstance(other, Result):
            scene = Scene(received, other)
        elif isinstance(received, Result) and isinstance(other, Picture):
            scene = Scene(other, received)
        else:
            self._waiting[key] = received
            if len(self._waiting) > KEPT:
                self._waiting.popitem(last=False)
            return None
        for old in [k for k in self._waiting if k[0] != key[0] or k[1] < key[1]]:
            del self._waiting[old]
        return scene
