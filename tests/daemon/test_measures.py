"""Measures in messages: what numpy finds on the same masks, and motions that are known."""

import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.tracked_frames import box_of, disc, found, tracked
from tracker.daemon.publish import measures
from tracker.daemon.publish.encoder import FrameEncoder
from tracker.daemon.publish.measures import rotated_box
from tracker.daemon.tracking.anchors import area_and_centroid
from tracker.daemon.tracking.motion import MotionEstimator
from tracker.protocol.fields import StreamSettings
from tracker.types import ObjectState

NS_STEP = 40_000_000  # 25 frames a second


def sent(item, motions=None, encoding: str = "rle", **measure: bool):
    """The object in the message of a frame, and the message."""
    one = tracked(objects=(item,), encoding=encoding, measure=measure)
    if motions is not None:
        one = replace(one, motions=motions)
    message = json.loads(FrameEncoder(latest=False).encode(one, frozenset()).body)
    return message["objects"][0], message


def random_mask(seed: int) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random((48, 64)) > 0.6


@pytest.mark.parametrize("encoding", ["rle", "bits", "labelmap-png", "polygon"])
def test_area_and_centroid_are_those_of_the_mask_in_each_encoding(encoding: str) -> None:
    mask_hw = random_mask(1)
    obj, _ = sent(found(1, mask_hw), encoding=encoding)
    rows, columns = np.nonzero(mask_hw)
    assert obj["area"] == mask_hw.sum()
    assert obj["centroid"] == pytest.approx([columns.mean() + 0.5, rows.mean() + 0.5], abs=0.01)


def test_an_object_is_measured_once_for_both_of_its_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def count(mask_hw: NDArray[np.bool_], box: tuple[int, int, int, int]):
        calls.append(box)
        return area_and_centroid(mask_hw, box)

    monkeypatch.setattr(measures, "area_and_centroid", count)
    objects = found(1, disc(20, 20)), found(2, disc(40, 20))
    sent_twice = FrameEncoder(latest=True).encode(
        tracked(objects=objects, encoding="bits"), frozenset()
    )
    assert sent_twice.latest is not None
    for body in (sent_twice.body, sent_twice.latest):
        assert all(one["area"] > 0 for one in json.loads(body)["objects"])
    assert len(calls) == 2


def test_what_is_not_wanted_or_not_there_is_null() -> None:
    names = ("area", "centroid", "rotated_box", "velocity", "predicted")
    obj, _ = sent(found(1, disc(20, 20)), shape=False)
    assert [obj[name] for name in names] == [None] * 5
    hidden = found(1, disc(20, 20), state=ObjectState.OCCLUDED)
    obj, _ = sent(hidden, rotated_box=True, velocity=True, prediction=True)
    assert [obj[name] for name in names] == [None] * 5


def least_area(mask_hw: NDArray[np.bool_]) -> float:
    """By trying every tenth of a degree on the corners of all pixels."""
    rows, columns = np.nonzero(mask_hw)
    corners = np.concatenate(
        [np.stack([columns + dx, rows + dy]) for dx in (0, 1) for dy in (0, 1)], axis=1
    )
    areas = []
    for angle in np.radians(np.arange(0, 90, 0.1)):
        turned = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]] @ corners
        areas.append(np.prod(turned.max(axis=1) - turned.min(axis=1)))
    return float(min(areas))


@pytest.mark.parametrize("angle", [0, 17, 45, 80])
def test_a_rotated_box_is_the_least_around_all_pixels(angle: int) -> None:
    corners = cv2.boxPoints(((32, 24), (40, 12), angle))
    mask_hw = cv2.fillPoly(np.zeros((48, 64), np.uint8), [corners.round().astype(int)], 1) > 0
    box = box_of(mask_hw)
    assert box is not None
    rotated = rotated_box(mask_hw, box)
    assert math.prod(rotated.size) == pytest.approx(least_area(mask_hw), rel=0.005)
    drawn = cv2.boxPoints((rotated.center, rotated.size, rotated.angle_deg))
    for y, x in np.argwhere(mask_hw):
        assert cv2.pointPolygonTest(drawn, (x + 0.5, y + 0.5), measureDist=True) > 0.4


def test_a_mask_of_one_pixel_has_a_rotated_box() -> None:
    mask_hw = np.zeros((48, 64), np.bool_)
    mask_hw[7, 9] = True
    assert rotated_box(mask_hw, (9, 7, 10, 8)).size == (1, 1)


# --- motion


def disc_at(x: float, y: float, state: ObjectState = ObjectState.VISIBLE):
    return found(1, disc(round(x), round(y), 4), state=state)


def test_the_velocity_of_a_steady_object_is_its_own_in_spite_of_a_frame_that_is_off() -> None:
    """Two pixels right and one up a frame, 25 frames a second; one mask is elsewhere."""
    estimator = MotionEstimator()
    for index in range(10):
        x, y = (50, 10) if index == 6 else (8 + 2 * index, 40 - index)
        motions = estimator.update(10**18 + index * NS_STEP, [disc_at(x, y)])
        assert bool(motions) == (index >= 2)
    assert (motions[1].x, motions[1].y) == pytest.approx((50, -25), abs=1)


def test_uneven_times_do_not_change_a_velocity() -> None:
    estimator = MotionEstimator()
    for index in (0, 1, 4, 5, 9, 10, 11):
        motions = estimator.update(10**18 + index * NS_STEP, [disc_at(8 + 2 * index, 20)])
    assert motions[1].x == pytest.approx(50, abs=1)


def test_a_velocity_ages_while_the_object_is_hidden_and_then_ends() -> None:
    estimator = MotionEstimator()
    for index in range(8):
        estimator.update(10**18 + index * NS_STEP, [disc_at(8 + 2 * index, 20)])
    seen_ns = 10**18 + 7 * NS_STEP
    hidden = disc_at(20, 20, ObjectState.OCCLUDED)
    motions = estimator.update(seen_ns + 10**9, [hidden])
    assert motions[1].observed_ns == seen_ns
    assert estimator.update(seen_ns + 3 * 10**9, [hidden]) == {}


def test_nothing_is_known_of_the_motion_of_an_object_that_was_prompted_anew_or_removed() -> None:
    estimator = MotionEstimator()
    for index in range(4):
        estimator.update(10**18 + index * NS_STEP, [disc_at(8 + 2 * index, 20)])
    estimator.forget(1)
    assert estimator.update(10**18 + 4 * NS_STEP, [disc_at(16, 20)]) == {}
    estimator.update(10**18 + 5 * NS_STEP, [])
    assert estimator._seen == {}


def test_a_clock_that_goes_back_begins_anew() -> None:
    estimator = MotionEstimator()
    for index in range(4):
        estimator.update(10**18 + index * NS_STEP, [disc_at(8 + 2 * index, 20)])
    assert estimator.update(10**17, [disc_at(16, 20)]) == {}


def test_a_message_holds_velocity_its_age_and_the_box_moved_by_the_latency() -> None:
    estimator = MotionEstimator()
    for index in range(8):
        item = disc_at(8 + 2 * index, 20)
        motions = estimator.update(10**18 + (index - 7) * NS_STEP, [item])
    obj, message = sent(item, motions, velocity=True, prediction=True)
    assert obj["velocity"] == {"x": 50.0, "y": 0.0, "age_ms": 0.0}
    ahead_ms = obj["predicted"]["ahead_ms"]
    # The frame of `tracked` arrived 50 ms before it was tracked.
    assert 50 <= ahead_ms <= message["timings"]["total_ms"]
    x0, y0, x1, y1 = obj["box"]
    moved = 50 * ahead_ms / 1000
    assert obj["predicted"]["box"] == pytest.approx([x0 + moved, y0, x1 + moved, y1], abs=0.01)


def test_only_shapes_are_sent_unless_more_is_wanted() -> None:
    measure = StreamSettings(url="a.mp4").measure
    assert measure.model_dump() == {
        "shape": True,
        "rotated_box": False,
        "velocity": False,
        "prediction": False,
    }
