"""Interface of viewers, and the loop that shows them a stream."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tracker.bridges.scenes import Scene, Scenes
from tracker.client import Client
from tracker.errors import TrackdError
from tracker.protocol.data import ObjectMessage
from tracker.protocol.fields import PreviewSize


class View(Protocol):
    """Another program that shows scenes."""

    def show(self, scene: Scene) -> None:
        """Show a scene.

        Raises:
            TrackdError: Its masks are damaged.
        """

    def close(self) -> None:
        """Finish what was begun."""


@dataclass
class Counts:
    """Scenes so far.

    Attributes:
        shown: Scenes that were passed on.
        lost: Messages that never came or are damaged, pictures without their masks, and
            those that a newer one was there for.
    """

    shown: int = 0
    lost: int = 0


def show_stream(
    client: Client,
    stream: str,
    size: PreviewSize,
    view: View,
    should_stop: Callable[[], bool],
) -> Counts:
    """Show a stream until it is to stop."""
    scenes = Scenes(client, stream, size)
    counts, damaged = Counts(), 0
    for scene in scenes.newest(should_stop):
        try:
            view.show(scene)
            counts.shown += 1
        except TrackdError:
            damaged += 1
    counts.lost = scenes.lost + scenes.unpaired + scenes.skipped + damaged
    return counts


def title(item: ObjectMessage) -> str:
    """Name of an object on pictures: id, label, score."""
    return " ".join(filter(None, (str(item.id), item.label, f"{item.score:.2f}")))
