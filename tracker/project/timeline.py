"""Timeline of a project: for each object, stretches of frames that look alike to a person."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tracker.project.results import ObjectFacts
from tracker.types import ObjectState

LOW_SCORE = 0.75  # of an object that is there
LOW_IOU = 0.4  # of its mask, by the model's own estimate
LOW_IDENTITY = 0.5
AREA_JUMP = 1.8  # times larger or smaller than on the frame before


class Stretch(StrEnum):
    """Kind of a stretch."""

    VISIBLE = "visible"
    OCCLUDED = "occluded"
    LOST = "lost"
    LOW = "low"  # there, but score, mask or identity are doubtful
    JUMP = "jump"  # one frame, whose area differs much from that of the frame before


@dataclass(frozen=True, slots=True)
class Span:
    """Frames `start` to `stop`, `stop` left out, of one kind."""

    kind: Stretch
    start: int
    stop: int


def spans_by_object(facts: Iterable[ObjectFacts]) -> dict[int, list[Span]]:
    """The stretches of each object, from its results in order of frames.

    A frame without a result ends a stretch.
    """
    spans: dict[int, list[Span]] = {}
    before: dict[int, ObjectFacts] = {}
    for item in facts:
        kind = _kind(item, before.get(item.id))
        before[item.id] = item
        mine = spans.setdefault(item.id, [])
        if mine and mine[-1].stop == item.frame and mine[-1].kind is kind is not Stretch.JUMP:
            mine[-1] = Span(kind, mine[-1].start, item.frame + 1)
        else:
            mine.append(Span(kind, item.frame, item.frame + 1))
    return spans


def _kind(item: ObjectFacts, before: ObjectFacts | None) -> Stretch:
    if item.state is ObjectState.LOST:
        return Stretch.LOST
    if item.state is ObjectState.OCCLUDED or not item.area:
        return Stretch.OCCLUDED
    if before is not None and before.frame + 1 == item.frame and before.area:
        ratio = item.area / before.area
        if not 1 / AREA_JUMP <= ratio <= AREA_JUMP:
            return Stretch.JUMP
    is_doubted = item.identity is not None and item.identity < LOW_IDENTITY
    if item.score < LOW_SCORE or item.iou < LOW_IOU or is_doubted:
        return Stretch.LOW
    return Stretch.VISIBLE
