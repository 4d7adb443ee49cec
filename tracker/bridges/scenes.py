"""Scenes of a stream: pictures, each with the masks of its own frame."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.client import Client, Picture, Result, Subscription
from tracker.client.joining import FrameJoiner
from tracker.protocol.data import ObjectMessage
from tracker.protocol.fields import PreviewSize

_WAIT_S = 0.2
_SILENT_S = 15.0
_LOG = logging.getLogger("trackd.scenes")


@dataclass(frozen=True)
class Scene:
    """A picture and what was tracked on it; the picture may be smaller than the frame."""

    picture: Picture
    result: Result

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the picture, in pixels."""
        frame, scale = self.picture.message.frame, self.picture.message.scale
        return max(1, round(frame.width * scale)), max(1, round(frame.height * scale))

    @property
    def shown(self) -> list[ObjectMessage]:
        """The objects with a mask."""
        masks = self.result.masks()
        return [item for item in self.result.objects if item.id in masks and item.box is not None]

    def mask(self, object_id: int) -> NDArray[np.bool_]:
        """Mask of an object at the size of the picture, bool [H, W]: all pixels that it touches.

        Raises:
            TrackdError: The message is damaged.
        """
        mask_hw = self.result.mask(object_id)
        if mask_hw.shape[::-1] == self.size_wh:
            return mask_hw
        covered_hw = cv2.resize(
            mask_hw.astype(np.uint8) * 255, self.size_wh, interpolation=cv2.INTER_AREA
        )
        return np.asarray(covered_hw > 0)

    def box(self, item: ObjectMessage) -> tuple[float, float, float, float]:
        """Edges of an object's box, in pixels of the picture."""
        assert item.box is not None
        frame, (width, height) = self.picture.message.frame, self.size_wh
        across, down = width / frame.width, height / frame.height
        x0, y0, x1, y1 = item.box
        return x0 * across, y0 * down, x1 * across, y1 * down


class Scenes:
    """Subscription to the scenes of a stream.

    Attributes:
        lost: Messages that were sent and never came.
        skipped: Scenes left out because a newer one was there.
    """

    def __init__(self, client: Client, stream: str, size: PreviewSize) -> None:
        self.lost = self.skipped = 0
        self._stream = stream
        self._joiner = FrameJoiner()
        self._subscription = client.scenes(stream, size)

    @property
    def unpaired(self) -> int:
        """Pictures whose masks never came; they are left out."""
        return self._joiner.unpaired

    def newest(self, should_stop: Callable[[], bool]) -> Iterator[Scene]:
        """The newest scene each time that one is asked for, until it is to stop."""
        with self._subscription as subscription:
            silent_since_s = time.monotonic()
            while not should_stop():
                scene = self._next(subscription, _WAIT_S)
                while (newer := self._next(subscription, 0.0)) is not None:
                    self.skipped += scene is not None
                    scene = newer
                self.lost = subscription.lost
                now_s = time.monotonic()
                if scene is not None:
                    silent_since_s = now_s
                    yield scene
                elif now_s - silent_since_s > _SILENT_S:
                    silent_since_s = now_s + _SILENT_S  # said half as often
                    _LOG.warning(
                        "no pictures of %s come; look at `trackd streams`, and at preview.fps",
                        self._stream,
                    )

    def _next(self, subscription: Subscription[Result | Picture], timeout_s: float) -> Scene | None:
        """The next scene; None where none is complete in time."""
        until_s = time.monotonic() + timeout_s
        while True:
            received = subscription.receive(max(0.0, until_s - time.monotonic()))
            if received is None:
                return None
            joined = self._joiner.add(received)
            if joined is not None:
                return Scene(*joined)
