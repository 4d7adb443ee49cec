"""Masks of a recording: those that were sent, as results of tracking."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, takewhile

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tracker.errors import TrackdError
from tracker.protocol.data import FrameStamp, MasksMessage, ObjectMessage, Topic
from tracker.protocol.masks import masks_of
from tracker.replay.recording import RecordedMessage, Recording
from tracker.replay.span import Span
from tracker.types import ObjectResult, StageTimes, TrackResult

_NO_TIMES = StageTimes(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class SentMasks:
    """A `masks` message.

    Attributes:
        message: What its JSON says.
        parts: The parts after the topic.
    """

    message: MasksMessage
    parts: tuple[bytes, ...]

    @property
    def frame(self) -> FrameStamp:
        """Identity and times of its frame."""
        return self.message.frame

    def result(self, step: int) -> TrackResult:
        """The objects as tracking had them, without the quality of their masks, which is not sent.

        Raises:
            TrackdError: A mask cannot be decoded, or does not fit the frame.
        """
        size_hw = self.frame.height, self.frame.width
        masks = masks_of(self.message, (b"", *self.parts))
        objects = (
            _result(item, masks.get(item.id), size_hw=size_hw) for item in self.message.objects
        )
        return TrackResult(step, tuple(objects), _NO_TIMES)


def sent_masks(recording: Recording, span: Span) -> Iterator[SentMasks]:
    """The `masks` messages about the frames of a time, in the order in which they were sent.

    From the first frame of that time on, up to the first one after it: packets of B-frames arrive
    after those of later frames.

    Raises:
        TrackdError: A file is damaged, or a message is none of this version.
    """
    found = (
        SentMasks(_parsed(recorded, recording), recorded.parts)
        for recorded in recording.messages()
        if recorded.topic.startswith(f"{Topic.MASKS}.")
    )
    own = (sent for sent in found if not sent.message.repeated)
    begun = dropwhile(lambda sent: sent.frame.captured_ns < span.began_ns, own)
    return takewhile(lambda sent: sent.frame.captured_ns < span.ended_ns, begun)


def _parsed(recorded: RecordedMessage, recording: Recording) -> MasksMessage:
    try:
        return MasksMessage.model_validate_json(recorded.parts[0], extra="ignore")
    except (ValidationError, IndexError) as error:
        raise TrackdError(
            f"a message on {recorded.topic} in {recording.folder} cannot be understood",
            "read it with the trackd that recorded it",
        ) from error


def _result(
    item: ObjectMessage, mask_hw: NDArray[np.bool_] | None, *, size_hw: tuple[int, int]
) -> ObjectResult:
    if mask_hw is None:
        mask_hw = np.zeros(size_hw, np.bool_)
    return ObjectResult(
        id=item.id,
        label=item.label,
        state=item.state,
        score=item.score,
        iou=math.nan,
        box_xyxy=_box(mask_hw),
        mask_hw=mask_hw,
        fresh=item.updated,
        identity=item.identity,
    )


def _box(mask_hw: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Box of a mask: that of a label map may be smaller than the one that was sent."""
    x0, y0, width, height = cv2.boundingRect(mask_hw.view(np.uint8))
    return (x0, y0, x0 + width, y0 + height) if width else None
