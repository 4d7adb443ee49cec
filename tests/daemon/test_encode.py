"""From tracked frames to messages and back, for every encoding."""

import json
from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tests.support.tracked_frames import HEIGHT, WIDTH, box_of, disc, event, found, tracked
from tracker.daemon.messages import Tracked
from tracker.daemon.publish.encode import (
    encode_objects,
    event_message,
    frame_message,
    masks_message,
    to_json,
)
from tracker.daemon.publish.preview import PreviewPace, encode_preview
from tracker.errors import TrackdError
from tracker.protocol.data import BitsMask, EventMessage, EventName, FrameMessage, MasksMessage
from tracker.protocol.fields import BudgetInfo, Encoding, Preview, RleMask
from tracker.protocol.masks import masks_of
from tracker.rle import encode_rle_in_box
from tracker.types import ObjectResult, ObjectState

ENCODINGS = get_args(Encoding)


def sent(frame: Tracked) -> list[bytes]:
    """The parts of the message about a frame."""
    height, width = frame.live.frame.image.shape[:2]
    encoded = encode_objects(frame.result.objects, frame.settings.encoding, height, width)
    message = masks_message(frame, encoded, seq=7, encoded_s=frame.tracked_s + 0.002)
    return [b"masks.cam1", to_json(message), *encoded.blobs]


def received(parts: list[bytes]) -> tuple[MasksMessage, dict[int, NDArray[np.bool_]]]:
    message = MasksMessage.model_validate_json(parts[1])
    return message, masks_of(message, parts)


@st.composite
def masks(draw) -> NDArray[np.bool_]:
    """Masks [H, W] with at least one pixel: noise, blobs, whole rows and columns, all of it."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.floats(0, 1))
    mask_hw = np.random.default_rng(seed).random((height, width)) < share
    if draw(st.booleans()):  # columns that a run passes from one into the next
        mask_hw[:, draw(st.integers(0, width - 1)) :] = True
    mask_hw[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = True
    return mask_hw


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(masks())
def test_rle_of_the_box_is_the_text_that_pycocotools_writes_for_the_frame(mask_hw):
    rle = encode_rle_in_box(mask_hw, box_of(mask_hw))
    official = coco_mask.encode(np.asfortranarray(mask_hw, dtype=np.uint8))
    assert [rle.height, rle.width] == official["size"]
    assert rle.counts == official["counts"].decode()


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(masks(), st.sampled_from(["rle", "bits", "labelmap-png"]))
def test_a_mask_survives_every_encoding_that_keeps_holes(mask_hw, encoding):
    frame = tracked(0, (found(5, mask_hw),), encoding=encoding)
    message, masks_hw = received(sent(frame))
    assert message.objects[0].box == box_of(mask_hw)
    assert list(masks_hw) == [5]
    assert np.array_equal(masks_hw[5], mask_hw)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(masks())
def test_polygons_give_the_mask_with_its_holes_filled(mask_hw):
    frame = tracked(0, (found(5, mask_hw),), encoding="polygon")
    _, masks_hw = received(sent(frame))
    assert np.array_equal(masks_hw[5], _without_holes(mask_hw))


def _without_holes(mask_hw: NDArray[np.bool_]) -> NDArray[np.bool_]:
    around_hw = np.pad(mask_hw, 1).astype(np.uint8)
    cv2.floodFill(around_hw, None, (0, 0), 2)
    return around_hw[1:-1, 1:-1] != 2


def three_objects() -> tuple[ObjectResult, ...]:
    """A cup, a hidden dog of which a mask was left behind, and a lost thing without name."""
    return (
        found(3, disc(20, 20), score=0.98765, identity=0.87654),
        found(4, disc(40, 20), label="dog", state=ObjectState.OCCLUDED, score=0.25),
        found(9, np.zeros((HEIGHT, WIDTH), np.bool_), label=None, state=ObjectState.LOST, score=0),
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_object_that_is_not_there_has_neither_box_nor_mask(encoding):
    message, masks_hw = received(sent(tracked(0, three_objects(), encoding=encoding)))
    cup, dog, thing = message.objects
    assert (cup.id, cup.label, cup.state, cup.box) == (3, "cup", "visible", (14, 14, 27, 27))
    assert (dog.id, dog.label, dog.state, dog.box, dog.mask) == (4, "dog", "occluded", None, None)
    assert (thing.label, thing.state, thing.box, thing.mask) == (None, "lost", None, None)
    assert cup.score == 0.9877
    assert list(masks_hw) == [3]
    assert np.array_equal(masks_hw[3], disc(20, 20))


def plain_object(**fields):
    """An object of a message as JSON; what is not given is null. test_measures has the measures."""
    names = ("label", "box", "mask", "value", "identity")
    measures = ("area", "centroid", "rotated_box", "velocity", "predicted")
    return dict.fromkeys((*names, *measures)) | {"updated": True} | fields


def test_a_message_reads_as_the_protocol_says():
    counts = coco_mask.encode(np.asfortranarray(disc(20, 20), np.uint8))["counts"].decode()
    topic, text = sent(tracked(2, three_objects()[:2], dropped=4))
    message = json.loads(text)
    assert topic == b"masks.cam1"
    assert message["timings"].pop("total_ms") == pytest.approx(52, abs=0.01)
    assert message == {
        "v": 1,
        "type": "masks",
        "stream": "cam1",
        "owner_epoch": 0,
        "seq": 7,
        "repeated": False,
        "dropped": 4,
        "frame": {
            "seq": 2,
            "epoch": None,
            "pts": 6000,
            "time_base": [1, 90000],
            "captured_ns": 10**18 + 2,
            "sender_ns": None,
            "width": WIDTH,
            "height": HEIGHT,
        },
        "timings": {
            "decode_ms": 4.0,
            "queue_ms": pytest.approx(10, abs=0.01),
            "encode_ms": 20.0,
            "track_ms": 7.0,
            "wire_ms": pytest.approx(2, abs=0.01),
        },
        "encoding": "rle",
        "labelmap_part": None,
        "budget": None,
        "objects": [
            plain_object(
                id=3,
                label="cup",
                state="visible",
                score=0.9877,
                box=[14, 14, 27, 27],
                mask={"size": [HEIGHT, WIDTH], "counts": counts},
                identity=0.8765,
            ),
            plain_object(id=4, label="dog", state="occluded", score=0.25),
        ],
    }


def test_what_a_deadline_gave_up_is_told():
    nothing_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
    waiting = replace(found(1, nothing_hw), fresh=False)
    budget = BudgetInfo(quality_level=7, input_size=192, memories=1, objects_per_frame=8)
    message, masks_hw = received(sent(replace(tracked(0, (waiting,)), budget=budget)))
    assert message.budget == budget
    (told,) = message.objects
    assert (told.updated, told.state, told.box, told.mask) == (False, "visible", None, None)
    assert masks_hw == {}


def test_each_mask_in_bits_has_its_part():
    objects = (found(1, disc(12, 12)), three_objects()[1], found(3, disc(40, 30, radius=3)))
    message, masks_hw = received(sent(tracked(0, objects, encoding="bits")))
    first, _, last = (item.mask for item in message.objects)
    assert isinstance(first, BitsMask) and isinstance(last, BitsMask)
    assert (first.part, first.size, last.part, last.size) == (2, (13, 13), 3, (7, 7))
    assert np.array_equal(masks_hw[3], disc(40, 30, radius=3))


def test_where_masks_overlap_the_label_map_shows_the_surer_object():
    sure, unsure = disc(20, 20), disc(26, 20)
    objects = (found(70, sure, score=0.9), found(8, unsure, score=0.6))
    message, masks_hw = received(sent(tracked(0, objects, encoding="labelmap-png")))
    assert [item.value for item in message.objects] == [1, 2]
    assert np.array_equal(masks_hw[70], sure)
    assert np.array_equal(masks_hw[8], unsure & ~sure)


@pytest.mark.parametrize(("count", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_the_label_map_has_16_bits_above_255_objects(count, dtype):
    objects = []
    for index in range(count):
        mask_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
        mask_hw[divmod(index, WIDTH)] = True
        objects.append(found(1000 + index, mask_hw))
    parts = sent(tracked(0, tuple(objects), encoding="labelmap-png"))
    values_hw = cv2.imdecode(np.frombuffer(parts[2], np.uint8), cv2.IMREAD_UNCHANGED)
    assert values_hw.dtype == dtype
    _, masks_hw = received(parts)
    assert all(np.array_equal(masks_hw[item.id], item.mask_hw) for item in objects)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_frame_without_objects_is_a_message_too(encoding):
    frame = tracked(0, (), encoding=encoding, image=np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    message, masks_hw = received(sent(frame))
    assert message.objects == [] and masks_hw == {}


def _cut(parts: list[bytes]) -> list[bytes]:
    return [*parts[:2], parts[2][:-3]]


@pytest.mark.parametrize(
    ("encoding", "damage", "says"),
    [
        ("bits", lambda parts: parts[:2], r"2 parts, its JSON names part 2"),
        ("bits", _cut, r"19 bytes for mask bits of 13x13 pixels"),
        ("bits", lambda p: [p[0], p[1].replace(b"[14,", b"[13,"), p[2]], "do not fit their box"),
        ("labelmap-png", lambda parts: [*parts[:2], b"\x89PNG"], "no grey PNG of 64x48"),
        ("labelmap-png", lambda parts: [*parts[:2], b""], "no grey PNG of 64x48"),
        ("rle", lambda p: [p[0], p[1].replace(b'size":[48', b'size":[47')], "no mask of 64x48"),
        ("polygon", lambda p: [p[0], p[1].replace(b'ons":[[', b'ons":[[1,')], "not made of points"),
    ],
)
def test_a_damaged_message_is_refused(encoding, damage, says):
    parts = sent(tracked(0, three_objects(), encoding=encoding))
    assert len(received(parts)[1]) == 1
    with pytest.raises(TrackdError, match=says):
        received(damage(parts))


def test_an_event_message_reads_as_the_protocol_says():
    happened = event(
        EventName.OBJECT_STATE, frame_seq=12, object_id=3, state=ObjectState.LOST, label="cup"
    )
    message = EventMessage.model_validate_json(to_json(event_message(happened, seq=5)))
    assert (message.stream, message.seq, message.event) == ("cam1", 5, "object.state")
    assert (message.frame_seq, message.object, message.state) == (12, 3, ObjectState.LOST)
    assert (message.label, message.at_ns, message.repeated) == ("cup", 10**18, False)


@pytest.mark.parametrize(
    ("height", "width", "shrunk", "scale"),
    [(100, 400, (50, 200), 0.5), (400, 100, (200, 50), 0.5), (60, 80, (60, 80), 1.0)],
)
def test_a_preview_is_shrunk_to_its_longer_side_and_keeps_its_colours(height, width, shrunk, scale):
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = (220, 40, 60)
    jpeg, given_scale = encode_preview(image, Preview(max_side_px=200))
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1), cv2.COLOR_BGR2RGB)
    assert (picture.shape[:2], given_scale) == (shrunk, scale)
    quarter = picture[shrunk[0] // 2, shrunk[1] // 4].astype(int)
    assert np.abs(quarter - (220, 40, 60)).max() < 12
    assert picture[shrunk[0] // 2, 3 * shrunk[1] // 4].max() < 12
    message = frame_message(tracked(3, image=image), seq=1, scale=given_scale)
    assert FrameMessage.model_validate_json(to_json(message)).scale == scale


def test_a_long_thin_picture_keeps_a_pixel():
    jpeg, _ = encode_preview(np.zeros((1, 4000, 3), np.uint8), Preview(max_side_px=16))
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (1, 16, 3)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.5, 60), st.floats(1, 120), st.integers(0, 2**32 - 1))
def test_previews_keep_their_pace(fps, source_fps, seed):
    jitter_s = np.random.default_rng(seed).uniform(0, 0.3 / source_fps, 400)
    pace = PreviewPace()
    times_s = np.arange(400) / source_fps + jitter_s
    shown = sum(pace.is_due(time_s, fps) for time_s in times_s)
    length_s = float(times_s[-1] - times_s[0])
    assert shown <= length_s * fps + 2
    # Never fewer than every other picture that could have been shown.
    assert shown >= min(length_s * fps, 400) / 2 - 1


def test_no_previews_at_zero_fps():
    assert not PreviewPace().is_due(1.0, 0)


def test_rle_masks_name_the_size_of_the_frame():
    message, _ = received(sent(tracked(0, three_objects())))
    assert isinstance(message.objects[0].mask, RleMask)
    assert message.objects[0].mask.size == (HEIGHT, WIDTH)
