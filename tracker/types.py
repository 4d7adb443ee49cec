"""The values that cross the engine's boundary: prompts in, results out.

Coordinates are source pixels, x to the right, y down. Boxes are edges: x0, y0 belong to the
box, x1, y1 do not (x1 is the last column plus one).
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tracker.errors import PromptError


class ObjectState(StrEnum):
    """State of an object on one frame, by the model."""

    VISIBLE = "visible"
    OCCLUDED = "occluded"
    LOST = "lost"
    REACQUIRED = "reacquired"


@dataclass(frozen=True, slots=True)
class Prompt:
    """Place of one object on one frame: points, a box, points and a box, or a mask.

    Attributes:
        object_id: Public id, 1 or more.
        points_xy: Clicks in source pixels.
        point_labels: One per click: 1 on the object, 0 off it.
        box_xyxy: Box edges in source pixels.
        mask_hw: Mask at source resolution, bool [H, W].
        label: A name for the object; None leaves the present one.
    """

    object_id: int
    points_xy: tuple[tuple[float, float], ...] = ()
    point_labels: tuple[int, ...] = ()
    box_xyxy: tuple[float, float, float, float] | None = None
    mask_hw: NDArray[np.bool_] | None = None
    label: str | None = None

    @property
    def click_count(self) -> int:
        """Clicks that the network is shown; a box counts as two."""
        return len(self.points_xy) + (0 if self.box_xyxy is None else 2)

    def following(self, earlier: "Prompt | None") -> "Prompt":
        """This prompt together with the clicks before it on the same frame.

        Points add to them; a box or a mask starts afresh.
        """
        if earlier is None or self.box_xyxy is not None or self.mask_hw is not None:
            return self
        return replace(
            self,
            points_xy=earlier.points_xy + self.points_xy,
            point_labels=earlier.point_labels + self.point_labels,
            box_xyxy=earlier.box_xyxy,
        )

    def validate(self, height: int | None = None, width: int | None = None) -> None:
        """Check the prompt against a frame of `height` x `width` pixels.

        Where the size is not known yet, what fits no frame is refused.

        Raises:
            PromptError: Nothing was prompted, a mask came together with clicks, or a coordinate
                is not a number, not on the frame, or in the wrong order.
        """
        who = f"prompt for object {self.object_id}"
        if self.object_id < 1:
            raise PromptError(f"{who}: ids start at 1", "use a positive whole number")
        if self.mask_hw is not None:
            self._validate_mask(who, height, width)
        elif self.box_xyxy is None and not self.points_xy:
            raise PromptError(f"{who} is empty", "give points, a box or a mask")
        if len(self.points_xy) != len(self.point_labels):
            raise PromptError(
                f"{who}: {len(self.points_xy)} points but {len(self.point_labels)} labels",
                "give each point a label, 1 on the object or 0 off it",
            )
        for (x, y), label in zip(self.points_xy, self.point_labels, strict=True):
            if label not in (0, 1):
                raise PromptError(f"{who}: point label {label}", "use 1 (object) or 0 (not)")
            if not (math.isfinite(x) and math.isfinite(y)):
                raise PromptError(f"{who}: point {x},{y} is not a number", "give x,y in pixels")
            if not (0 <= x < (width or math.inf) and 0 <= y < (height or math.inf)):
                raise _outside(f"{who}: point {x:g},{y:g}", height, width, largest=-1)
        if self.box_xyxy is not None:
            _validate_box(who, self.box_xyxy, height, width)

    def _validate_mask(self, who: str, height: int | None, width: int | None) -> None:
        assert self.mask_hw is not None
        if self.points_xy or self.box_xyxy is not None:
            raise PromptError(f"{who} has a mask and clicks", "give one or the other")
        if height is not None and self.mask_hw.shape != (height, width):
            got = "x".join(str(n) for n in self.mask_hw.shape[::-1])
            raise PromptError(
                f"{who}: mask is {got}, the frame is {width}x{height}",
                "draw the mask at the size of the video",
            )
        if not self.mask_hw.any():
            raise PromptError(f"{who}: mask is empty", "mark at least one pixel")


def _validate_box(
    who: str, box_xyxy: tuple[float, float, float, float], height: int | None, width: int | None
) -> None:
    x0, y0, x1, y1 = box_xyxy
    text = f"{x0:g},{y0:g},{x1:g},{y1:g}"
    if not all(math.isfinite(v) for v in box_xyxy):
        raise PromptError(f"{who}: box {text} is not made of numbers", "give X0,Y0,X1,Y1 in pixels")
    if x0 >= x1 or y0 >= y1:
        raise PromptError(
            f"{who}: box {text} is reversed or empty", "give left,top,right,bottom in pixels"
        )
    if x0 < 0 or y0 < 0 or x1 > (width or math.inf) or y1 > (height or math.inf):
        raise _outside(f"{who}: box {text}", height, width)


def _outside(what: str, height: int | None, width: int | None, largest: int = 0) -> PromptError:
    """The error of coordinates beyond a frame, the largest of which is its size plus `largest`."""
    if height is None or width is None:
        return PromptError(f"{what} is outside of any frame", "coordinates are 0 or more")
    return PromptError(
        f"{what} is outside the {width}x{height} frame",
        f"keep x in 0..{width + largest} and y in 0..{height + largest}",
    )


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """One object on one frame.

    Attributes:
        id: Public id.
        label: Its name, if it has one.
        state: Whether the object is there, by the model's own object score.
        score: Probability that the object is on this frame, 0..1.
        iou: The model's own estimate of the mask's quality, 0..1; NaN where it is not known.
        box_xyxy: Edges of the mask's box in source pixels; None where the mask is empty.
        mask_hw: Mask at source resolution, bool [H, W].
        fresh: Whether it was looked for on this frame. If not, state and scores are those of the
            frame of its last turn, and there is neither mask nor box.
        identity: How sure it is that the mask is still of the same object, 0..1; None where there
            is no mask, or the policy keeps no galleries.
    """

    id: int
    label: str | None
    state: ObjectState
    score: float
    iou: float
    box_xyxy: tuple[int, int, int, int] | None
    mask_hw: NDArray[np.bool_]
    fresh: bool = True
    identity: float | None = None


@dataclass(frozen=True, slots=True)
class Prompted:
    """Result of a prompt.

    Attributes:
        object: The object as it stands on the newest frame.
        step: The step that the prompt was applied to.
        caught_up: Frames tracked again from there to the newest.
        left: Frames that are still to be.
    """

    object: ObjectResult
    step: int
    caught_up: int
    left: int = 0


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Seconds spent on a frame, by the monotonic clock.

    Attributes:
        encode_s: In the image encoder.
        track_s: For the objects: memory attention, masks, new memories.
        ahead_s: The part of `encode_s` before the frame's own turn, beside the tracking of others.
    """

    encode_s: float
    track_s: float
    ahead_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TrackResult:
    """All objects on one frame; `step` counts the frames given to the session from 0."""

    step: int
    objects: tuple[ObjectResult, ...]
    times: StageTimes
