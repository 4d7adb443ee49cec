"""Frame trackers: the prompts and removals of a plan, applied to a session frame by frame."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streams.frame import Frame
from tracker.annotate.first_masks import FirstMasks
from tracker.annotate.plan import PromptPlan
from tracker.errors import PromptError
from tracker.types import Prompt, Prompted, StageTimes, TrackResult

_NO_OBJECTS = TrackResult(step=0, objects=(), times=StageTimes(0.0, 0.0))


class FrameTracker(Protocol):
    """Takes the frames of the range in order and says what is on each."""

    def track(self, frame: Frame) -> TrackResult:
        """All objects on the next frame."""


class TrackSession(Protocol):
    """The part of `tracker.engine.Session` that tracking a plan needs."""

    def step(self, image_hwc: NDArray[np.uint8], /) -> TrackResult:
        """Track all objects on the next frame, RGB uint8 [H, W, 3]."""

    def prompt(self, prompt: Prompt, /) -> Prompted:
        """Add or correct an object on the newest frame."""

    def remove(self, object_id: int, /) -> None:
        """Forget an object."""

    def result(self) -> TrackResult:
        """All objects on the newest frame."""


class PlanTracker:
    """Tracks the objects of a plan; the session's first frame is the plan's."""

    def __init__(
        self,
        session: TrackSession,
        plan: PromptPlan,
        next_frame: int | None = None,
        first_masks: FirstMasks | None = None,
    ) -> None:
        """Track with `session`, which is new, or was restored on the frame before `next_frame`.

        `first_masks` makes the first mask of each object; without, the session does.
        """
        self._session = session
        self._plan = plan
        self._first = plan.first_frame
        self._next = self._first if next_frame is None else next_frame
        self._first_masks = first_masks

    def track(self, frame: Frame) -> TrackResult:
        """All objects on the next frame: removals come first, prompts last.

        Raises:
            PromptError: A prompt does not fit the frame, or is on one that the source left out, or
                the segmenter finds nothing there.
        """
        if frame.seq < self._first:
            return _NO_OBJECTS
        height, width = frame.image.shape[:2]
        prompts = [item.fitted(height, width) for item in self._plan.due(frame.seq)]
        for number in range(self._next, frame.seq + 1):
            if number < frame.seq and self._plan.due(number):
                raise PromptError(f"there is a prompt on frame {number}, which is damaged")
            for object_id in self._plan.removed(number):
                self._session.remove(object_id)
        self._next = frame.seq + 1
        result = self._session.step(frame.image)
        if not prompts:
            return result
        if self._first_masks is not None:
            known_ids = {item.id for item in result.objects}
            prompts = self._first_masks.applied(prompts, frame, known_ids)
        for prompt in prompts:
            self._session.prompt(prompt)
        return self._session.result()
