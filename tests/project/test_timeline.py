"""Stretches of a timeline, by hand."""

from tracker.project.results import ObjectFacts
from tracker.project.timeline import Span, Stretch, spans_by_object
from tracker.types import ObjectState

SEEN, GONE, LOST = ObjectState.VISIBLE, ObjectState.OCCLUDED, ObjectState.LOST


def facts(*rows: tuple[int, ObjectState, float, float, int, float | None]) -> list[ObjectFacts]:
    return [
        ObjectFacts(frame, 1, state, score, iou, identity, area)
        for frame, state, score, iou, area, identity in rows
    ]  # type: ignore[arg-type]


def test_frames_that_are_alike_make_one_stretch() -> None:
    (mine,) = spans_by_object(
        facts(
            (0, SEEN, 1.0, 0.9, 100, 1.0),
            (1, SEEN, 1.0, 0.9, 110, 1.0),
            (2, SEEN, 0.6, 0.9, 110, 1.0),  # a doubtful score
            (3, SEEN, 1.0, 0.1, 110, None),  # a doubtful mask
            (4, SEEN, 1.0, 0.9, 300, 1.0),  # it grows at once
            (5, SEEN, 1.0, 0.9, 310, 1.0),
            (6, SEEN, 1.0, 0.9, 90, 1.0),  # and shrinks
            (7, GONE, 0.1, 0.9, 0, 1.0),
            (8, GONE, 0.1, 0.9, 0, 1.0),
            (9, LOST, 0.0, 0.9, 0, 1.0),
            (12, SEEN, 1.0, 0.9, 100, 1.0),  # frames between are damaged
            (13, SEEN, 1.0, 0.9, 100, 0.2),  # is it still the same?
        )
    ).values()
    assert mine == [
        Span(Stretch.VISIBLE, 0, 2),
        Span(Stretch.LOW, 2, 4),
        Span(Stretch.JUMP, 4, 5),
        Span(Stretch.VISIBLE, 5, 6),
        Span(Stretch.JUMP, 6, 7),
        Span(Stretch.OCCLUDED, 7, 9),
        Span(Stretch.LOST, 9, 10),
        Span(Stretch.VISIBLE, 12, 13),
        Span(Stretch.LOW, 13, 14),
    ]


def test_objects_do_not_mix() -> None:
    both = [
        ObjectFacts(frame, number, SEEN, 1.0, 1.0, None, 10 * number)
        for frame in range(3)
        for number in (1, 2)
    ]
    assert spans_by_object(both) == {n: [Span(Stretch.VISIBLE, 0, 3)] for n in (1, 2)}
    assert spans_by_object([]) == {}
