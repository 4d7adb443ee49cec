"""Zones and lines: what supervision finds on the same boxes and masks, and when it is told."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import supervision as sv
from numpy.typing import NDArray
from pydantic import ValidationError

from streams.frame import Frame
from tests.support.tracked_frames import box_of, disc
from tracker.daemon.messages import Event, LiveFrame
from tracker.daemon.tracking.anchors import anchor_of, area_and_centroid
from tracker.daemon.zones import monitor
from tracker.daemon.zones.monitor import ZoneMonitor
from tracker.protocol.data import EventName, Leaving
from tracker.protocol.fields import Anchor, ZoneSettings
from tracker.types import ObjectResult, ObjectState

HEIGHT, WIDTH = 60, 80
SQUARE = ((20, 10), (60, 10), (60, 50), (20, 50))


def obj(
    mask_hw: NDArray[np.bool_] | None,
    object_id: int = 1,
    label: str | None = "cup",
    state: ObjectState = ObjectState.VISIBLE,
    *,
    fresh: bool = True,
) -> ObjectResult:
    empty_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask_hw = empty_hw if mask_hw is None else mask_hw
    box = box_of(mask_hw)
    return ObjectResult(object_id, label, state, 0.9, 0.8, box, mask_hw, fresh)


def at(x: int, y: int, object_id: int = 1, **more: Any) -> ObjectResult:
    return obj(disc(x, y, 3, HEIGHT, WIDTH), object_id, **more)


def gone(state: ObjectState, object_id: int = 1) -> ObjectResult:
    return obj(None, object_id, state=state)


class Stream:
    """A monitor and its clock; a frame a second."""

    def __init__(self, **zones: dict[str, Any]) -> None:
        self.monitor = ZoneMonitor("cam")
        self.seq = 0
        self.set(**zones)

    def set(self, **zones: dict[str, Any]) -> list[Event]:
        settings = {name: ZoneSettings.model_validate(one) for name, one in zones.items()}
        return self.monitor.set_zones(settings)

    def see(self, *objects: ObjectResult, size: tuple[int, int] = (HEIGHT, WIDTH)) -> list[Event]:
        self.seq += 1
        image = np.zeros((*size, 3), np.uint8)
        frame = Frame("cam", self.seq, None, Fraction(1, 25), 10**18 + self.seq, image)
        return self.monitor.update(LiveFrame(frame, None, 0, self.seq, self.seq, "ab"), objects)

    def told(self, *frames: Sequence[ObjectResult], **more: Any) -> list[tuple[int, str, Any]]:
        """Frame number, name and id of all events but counts of these frames."""
        events = [event for objects in frames for event in self.see(*objects, **more)]
        return [
            (event.frame_seq or 0, event.name.value, event.object_id)
            for event in events
            if event.name is not EventName.ZONE_COUNT
        ]

    def counts(self) -> list[int | None]:
        return [one.count for one in self.monitor.counts]


def detections(objects: Iterable[ObjectResult]) -> sv.Detections:
    """Objects in sight, as supervision has them."""
    shown = [one for one in objects if one.box_xyxy is not None]
    return sv.Detections(
        xyxy=np.array([one.box_xyxy for one in shown], np.float64).reshape(-1, 4),
        mask=np.array([one.mask_hw for one in shown]),
        tracker_id=np.array([one.id for one in shown]),
    )


# --- anchors


@pytest.mark.parametrize("anchor", Anchor)
def test_an_anchor_is_where_supervision_has_it(anchor: Anchor) -> None:
    mask_hw = disc(30, 20, 7, HEIGHT, WIDTH) | disc(45, 31, 5, HEIGHT, WIDTH)
    ((x, y),) = detections([obj(mask_hw)]).get_anchors_coordinates(sv.Position(anchor.value))
    found = anchor_of(obj(mask_hw), anchor)
    # supervision takes the index of a pixel for its centre, and rounds down.
    slack = 1.0 if anchor is Anchor.CENTER_OF_MASS else 0.0
    assert found == pytest.approx((x, y), abs=slack)


def test_area_and_centroid_are_those_of_numpy() -> None:
    mask_hw = np.random.default_rng(3).random((HEIGHT, WIDTH)) > 0.7
    rows, columns = np.nonzero(mask_hw)
    box = box_of(mask_hw)
    assert box is not None
    area, centroid = area_and_centroid(mask_hw, box)
    assert area == len(rows)
    assert centroid == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5))


@pytest.mark.parametrize("state", [ObjectState.OCCLUDED, ObjectState.LOST])
def test_what_is_not_in_sight_has_no_anchor(state: ObjectState) -> None:
    mask_hw = disc(30, 20, 7, HEIGHT, WIDTH)
    assert anchor_of(obj(mask_hw, state=state), Anchor.CENTER) is None
    assert anchor_of(obj(mask_hw, fresh=False), Anchor.CENTER) is None


# --- zones


def walks(seed: int, count: int = 60) -> list[list[ObjectResult]]:
    """Three objects on random walks."""
    random = np.random.default_rng(seed)
    places = random.integers((8, 8), (WIDTH - 8, HEIGHT - 8), (3, 2))
    frames = []
    for _ in range(count):
        places = np.clip(places + random.integers(-6, 7, (3, 2)), 4, (WIDTH - 5, HEIGHT - 5))
        frames.append([at(int(x), int(y), i) for i, (x, y) in enumerate(places, start=1)])
    return frames


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("anchor", [Anchor.CENTER, Anchor.BOTTOM_CENTER, Anchor.TOP_LEFT])
def test_who_is_inside_is_who_supervision_finds_there(seed: int, anchor: Anchor) -> None:
    # Edges at a third of a pixel: whether the edge belongs to the zone does not matter.
    corners = np.array([(20, 8), (66, 14), (40, 30), (70, 52), (12, 44)])
    stream = Stream(zone={"polygon": corners + 1 / 3, "anchor": anchor, "min_frames": 1})
    zone = sv.PolygonZone(corners, triggering_anchors=[sv.Position(anchor.value)])
    inside: set[int] = set()
    near = 0
    for objects in walks(seed):
        for event in stream.see(*objects):
            if event.name is EventName.ZONE_ENTERED:
                inside.add(event.object_id or 0)
            elif event.name is EventName.ZONE_LEFT:
                inside.discard(event.object_id or 0)
        found = set(np.flatnonzero(zone.trigger(detections(objects))) + 1)
        assert stream.counts() == [len(inside)]
        near += len(inside ^ found)  # a raster of pixels differs from a polygon at its edge
    assert near <= 0.05 * 3 * 60


def test_an_object_enters_after_so_many_frames_in_a_row_and_no_flicker_counts() -> None:
    stream = Stream(zone={"polygon": SQUARE, "min_frames": 3, "anchor": "CENTER"})
    inside, outside = [at(40, 30)], [at(8, 30)]
    assert stream.told(outside, inside, inside, outside, inside, inside) == []
    assert stream.told(inside) == [(7, "zone.entered", 1)]
    assert stream.told(inside, outside, outside, inside, inside) == []
    assert stream.told(outside, outside, outside) == [(15, "zone.left", 1)]


def test_an_event_says_who_where_when_and_how_many() -> None:
    stream = Stream(gate={"polygon": SQUARE, "min_frames": 2, "anchor": "CENTER"})
    (first,) = stream.see(at(8, 8))
    assert (first.name, first.zone and first.zone.count) == (EventName.ZONE_COUNT, 0)
    stream.see(at(40, 30))
    entered, count = stream.see(at(40, 30))
    assert (entered.name, entered.object_id, entered.label) == (EventName.ZONE_ENTERED, 1, "cup")
    assert (entered.frame_seq, entered.captured_ns) == (3, 10**18 + 3)
    assert entered.zone is not None and (entered.zone.name, entered.zone.count) == ("gate", 1)
    assert entered.text == "cup entered gate"
    assert (count.name, count.zone and count.zone.count) == (EventName.ZONE_COUNT, 1)
    stream.see(at(8, 8))
    left, count = stream.see(at(8, 8))
    assert left.zone is not None
    assert (left.zone.reason, left.zone.count, left.zone.dwell_s) == (Leaving.MOVED, 0, 2)
    assert count.text == "0 in gate"


def test_an_object_dwells_once_a_visit() -> None:
    stream = Stream(zone={"polygon": SQUARE, "min_frames": 1, "anchor": "CENTER", "dwell_s": 2})
    inside, outside = [at(40, 30)], [at(8, 30)]
    assert stream.told(inside, inside) == [(1, "zone.entered", 1)]
    assert stream.told(inside, inside, inside) == [(3, "zone.dwelled", 1)]
    assert stream.told(outside, inside, inside) == [(6, "zone.left", 1), (7, "zone.entered", 1)]
    assert stream.told([gone(ObjectState.OCCLUDED)]) == [(9, "zone.dwelled", 1)]


def test_who_is_hidden_stays_and_who_is_lost_or_removed_leaves() -> None:
    stream = Stream(zone={"polygon": SQUARE, "min_frames": 1, "anchor": "CENTER"})
    hidden, lost = gone(ObjectState.OCCLUDED), gone(ObjectState.LOST)
    assert stream.told([at(40, 30)], [hidden], [obj(None, fresh=False)], [at(41, 30)]) == [
        (1, "zone.entered", 1)
    ]
    (left, _) = stream.see(lost)
    assert left.zone is not None and left.zone.reason is Leaving.LOST
    assert stream.told([lost], [at(41, 30)]) == [(7, "zone.entered", 1)]
    (left, _) = stream.see()
    assert left.zone is not None and (left.zone.reason, left.label) == (Leaving.REMOVED, "cup")
    assert stream.told([], []) == []


def test_a_zone_watches_only_some_labels_and_ids() -> None:
    stream = Stream(
        cups={"polygon": SQUARE, "labels": ["cup"], "min_frames": 1},
        two={"polygon": SQUARE, "objects": [2], "min_frames": 1},
    )
    stream.see(at(40, 30, 1), at(40, 30, 2, label="dog"), at(40, 30, 3, label=None))
    assert stream.counts() == [1, 1]
    (left, count) = stream.see(at(40, 30, 1, label="dog"), at(40, 30, 2, label="dog"))
    assert (left.object_id, left.zone and left.zone.reason) == (1, Leaving.REMOVED)
    assert count.zone is not None and count.zone.name == "cups"


def test_parts_of_the_picture_follow_its_size() -> None:
    half = {"polygon": [(0, 0), (0.5, 0), (0.5, 1), (0, 1)], "normalized": True}
    stream = Stream(left={**half, "min_frames": 1, "anchor": "CENTER"})
    stream.see(at(30, 30))
    assert stream.counts() == [1]
    stream.see(at(30, 30), size=(HEIGHT, 50))  # the same pixel of a narrower picture
    assert stream.counts() == [0]


# --- lines


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("frames", [1, 3])
def test_crossings_and_directions_are_those_of_supervision(seed: int, frames: int) -> None:
    # Longer than the picture: supervision ignores what is beside the ends.
    a, b = (-200, 25), (300, 34)
    stream = Stream(line={"line": (a, b), "min_frames": frames, "anchor": "CENTER"})
    theirs = sv.LineZone(
        sv.Point(*a), sv.Point(*b), [sv.Position.CENTER], minimum_crossing_threshold=frames
    )
    for objects in walks(seed):
        crossed_in, crossed_out = theirs.trigger(detections(objects))
        expected = {(i + 1, "in") for i in np.flatnonzero(crossed_in)}
        expected |= {(i + 1, "out") for i in np.flatnonzero(crossed_out)}
        events = stream.see(*objects)
        assert {(e.object_id, e.zone and e.zone.direction) for e in events} == expected
    (counts,) = stream.monitor.counts
    assert (counts.crossed_in, counts.crossed_out) == (theirs.in_count, theirs.out_count)
    assert theirs.in_count + theirs.out_count > 0 or frames > 1


def test_who_goes_around_the_end_of_a_line_does_not_cross_it() -> None:
    stream = Stream(line={"line": ((40, 0), (40, 30)), "min_frames": 1, "anchor": "CENTER"})
    around = [[at(20, 20)], [at(20, 50)], [at(60, 50)], [at(60, 20)]]
    assert stream.told(*around) == []
    assert stream.told([at(20, 20)]) == [(5, "line.crossed", 1)]


def test_who_was_hidden_behind_a_line_has_crossed_it_and_who_was_lost_has_not() -> None:
    stream = Stream(line={"line": ((40, 0), (40, 60)), "min_frames": 1, "anchor": "CENTER"})
    hidden, lost = [gone(ObjectState.OCCLUDED)], [gone(ObjectState.LOST)]
    assert stream.told([at(20, 20)], hidden, hidden, [at(60, 20)]) == [(4, "line.crossed", 1)]
    assert stream.told(hidden, lost, [at(20, 20)]) == []


# --- what is kept


def test_a_zone_that_stays_as_it_was_goes_on_and_a_changed_one_begins_again() -> None:
    zone = {"polygon": SQUARE, "min_frames": 1, "anchor": "CENTER"}
    stream = Stream(a=zone, b=zone)
    stream.see(at(40, 30))
    events = stream.set(b={**zone, "dwell_s": 5}, a=zone)
    assert [(event.name, event.zone and event.zone.name) for event in events] == [
        (EventName.ZONE_SET, "b")
    ]
    assert dict(zip("ba", stream.counts(), strict=True)) == {"a": 1, "b": 0}
    (removed,) = stream.set(b={**zone, "dwell_s": 5})
    assert (removed.name, removed.text) == (EventName.ZONE_REMOVED, "zone.removed a")
    assert stream.told([at(40, 30)]) == [(2, "zone.entered", 1)]


def test_objects_that_were_put_back_do_not_enter_again() -> None:
    stream = Stream(
        zone={"polygon": SQUARE, "min_frames": 2, "anchor": "CENTER"},
        line={"line": ((40, 0), (40, 60)), "min_frames": 1, "anchor": "CENTER"},
    )
    stream.monitor.restart([1, 2])
    inside, outside = at(30, 30), at(8, 30, 2)
    first = stream.see(gone(ObjectState.LOST))
    assert [(e.name, e.zone and e.zone.count) for e in first] == [(EventName.ZONE_COUNT, 0)]
    assert stream.told([inside, outside, at(30, 30, 3)]) == []
    assert stream.counts() == [1, None]
    new = [inside, at(30, 30, 2), at(30, 30, 3)]
    assert stream.told(new, new) == [(3, "zone.entered", 3), (4, "zone.entered", 2)]


def test_an_anchor_is_computed_once_a_frame_for_all_zones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, Anchor]] = []

    def counted(one: ObjectResult, anchor: Anchor) -> Any:
        asked.append((one.id, anchor))
        return anchor_of(one, anchor)

    monkeypatch.setattr(monitor, "anchor_of", counted)
    zone = {"polygon": SQUARE, "anchor": "CENTER_OF_MASS"}
    stream = Stream(a=zone, b=zone, c=zone, d={"polygon": SQUARE, "anchor": "CENTER"})
    for frames in (1, 2):
        stream.see(at(30, 30, 1), at(40, 30, 2))
        assert len(asked) == 4 * frames and len(set(asked)) == 4


def test_nothing_is_kept_of_objects_that_are_gone() -> None:
    zone = {"polygon": SQUARE, "min_frames": 1}
    stream = Stream(zone=zone, line={"line": ((40, 0), (40, 60))})
    for object_id in range(1, 200):
        stream.see(at(40, 30, object_id))
    shapes = [one._shape for one in stream.monitor._zones.values()]
    assert [shape.object_ids for shape in shapes] == [[199], [199]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give one of polygon, line"),
        ({"polygon": SQUARE, "line": ((0, 0), (1, 1))}, "give one of polygon, line"),
        ({"polygon": ((0, 0), (1, 1))}, "at least 3"),
        ({"polygon": ((0, 0), (5, 5), (9, 9))}, "no area"),
        ({"polygon": ((3, 3), (3, 3), (3, 3))}, "no area"),
        ({"line": ((2, 2), (2, 2))}, "no length"),
        ({"line": ((0, 0), (9, 9)), "dwell_s": 3}, "dwell_s is for polygons"),
        ({"polygon": SQUARE, "normalized": True}, r"0\.\.1"),
        ({"polygon": SQUARE, "anchor": "MIDDLE"}, "CENTER"),
        ({"polygon": [(i, i * i) for i in range(65)]}, "at most 64"),
        ({"polygon": ((0, 0), (5, float("nan")), (9, 0))}, "finite"),
    ],
)
def test_what_is_no_zone_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ZoneSettings.model_validate(settings)


def test_a_polygon_may_cross_itself() -> None:
    """A bow tie has a signed area of 0, and an inside by the even-odd rule."""
    assert ZoneSettings(polygon=((0, 0), (10, 10), (10, 0), (0, 10))).polygon is not None
