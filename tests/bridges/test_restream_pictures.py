"""What is sent on: hidden objects, steady times, destinations that keep their secrets."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.received import picture, result
from tests.support.tracked_frames import disc, found
from tracker.bridges.restream.destination import parse_destination
from tracker.bridges.restream.pictures import Hiding, Pictures
from tracker.bridges.restream.timeline import Timeline
from tracker.bridges.scenes import Scene
from tracker.effects.chain import parse_effects
from tracker.errors import TrackdError, UsageError
from tracker.protocol.data import FrameStamp
from tracker.protocol.fields import Encoding
from tracker.types import ObjectResult, ObjectState

HEIGHT, WIDTH = 240, 320
FACE_HW, PLATE_HW = (disc(x, 120, 40, HEIGHT, WIDTH) for x in (80, 240))
FACE, PLATE = found(1, FACE_HW, label="face"), found(2, PLATE_HW, label="plate")
EMPTY_HW = np.zeros((HEIGHT, WIDTH), np.bool_)
# Checks of 4 pixels: JPEG keeps them, and nothing that hides does.
CHECKS = np.kron(np.indices((60, 80)).sum(axis=0) % 2, np.ones((4, 4)))[..., None] * 255
IMAGE = np.repeat(CHECKS, 3, axis=2).astype(np.uint8)


def scene(*objects: ObjectResult, seq: int = 1, scale: float = 1.0) -> Scene:
    got = result(seq, objects, image=IMAGE)
    step = round(1 / scale)
    return Scene(picture(got, IMAGE[::step, ::step], scale), got)


def sent(one: Scene, hiding: Hiding | None, *effects: str) -> NDArray[np.uint8]:
    (shot,) = Pictures(parse_effects(effects) if effects else (), hiding).of(one)
    return shot.image_hwc


def contrast(image_hwc: NDArray[np.uint8], where_hw: NDArray[np.bool_]) -> float:
    """How much of the checks is left, 0..1: steps between neighbours over those of the checks."""
    steps_hw = np.abs(np.diff(image_hwc[..., 0].astype(float), axis=1, prepend=0))
    whole_hw = np.abs(np.diff(IMAGE[..., 0].astype(float), axis=1, prepend=0))
    return float(steps_hw[where_hw].sum() / whole_hw[where_hw].sum())


def hiding(*targets: str, **more: object) -> Hiding:
    return Hiding(targets=frozenset(targets), **more)


@pytest.mark.parametrize("style", ["blur", "pixelate"])
@pytest.mark.parametrize("target", ["face", "1"])
def test_what_is_named_is_hidden_and_the_rest_is_as_it_was(target: str, style: str) -> None:
    image = sent(scene(FACE, PLATE), hiding(target, style=style))
    assert contrast(image, FACE_HW) < 0.15
    assert contrast(image, PLATE_HW) > 0.9


@pytest.mark.parametrize("encoding", ["rle", "bits", "polygon", "labelmap-png"])
def test_what_a_surer_object_covers_is_hidden_too(encoding: Encoding) -> None:
    """In a label map the pixels of both are those of the surer one alone."""
    hand_hw = disc(100, 120, 30, HEIGHT, WIDTH)
    hand = found(2, hand_hw, label="hand", score=0.99)
    got = result(1, (replace(FACE, score=0.6), hand), image=IMAGE, encoding=encoding)
    image = sent(Scene(picture(got, IMAGE), got), hiding("face"))
    assert contrast(image, FACE_HW & hand_hw) < 0.15


def test_all_hides_every_object() -> None:
    image = sent(scene(FACE, PLATE), hiding("all"))
    assert contrast(image, FACE_HW | PLATE_HW) < 0.15
    assert (
        contrast(image, ~disc(80, 120, 60, HEIGHT, WIDTH) & ~disc(240, 120, 60, HEIGHT, WIDTH))
        > 0.9
    )


@pytest.mark.parametrize(
    "objects",
    [
        (),  # the daemon knows nothing any more
        (PLATE,),  # nor of what is to be hidden
        (PLATE, found(1, EMPTY_HW, label="face", state=ObjectState.LOST)),
        (PLATE, found(1, EMPTY_HW, label="face", state=ObjectState.OCCLUDED)),
        (PLATE, FACE, found(3, EMPTY_HW, label="face", state=ObjectState.OCCLUDED)),
        (PLATE, replace(FACE, box_xyxy=None, mask_hw=EMPTY_HW, fresh=False)),  # it had no turn
    ],
)
def test_what_has_no_mask_hides_the_whole_picture(objects: tuple[ObjectResult, ...]) -> None:
    one = scene(*objects) if objects else scene_of_nothing()
    assert contrast(sent(one, hiding("face")), ~EMPTY_HW) < 0.15


def scene_of_nothing() -> Scene:
    got = result(1, (), image=IMAGE)
    return Scene(picture(got, IMAGE), got)


def test_unsure_pictures_are_shown_where_that_is_asked_for() -> None:
    lost = found(1, EMPTY_HW, label="face", state=ObjectState.LOST)
    image = sent(scene(PLATE, lost), hiding("face", "plate", hides_unsure=False))
    assert contrast(image, PLATE_HW) < 0.15
    assert contrast(image, FACE_HW) > 0.9


def test_nothing_tracked_is_unsure_for_all() -> None:
    assert contrast(sent(scene_of_nothing(), hiding("all")), ~EMPTY_HW) < 0.15


def test_what_is_hidden_is_so_before_effects_see_it() -> None:
    """An effect that copies from other frames or places finds nothing to show."""
    image = sent(scene(FACE, PLATE), hiding("face"), "spotlight")
    assert contrast(image, FACE_HW) < 0.15


def test_masks_of_smaller_pictures_hide_as_much() -> None:
    got = result(1, (FACE,), image=IMAGE)
    small = np.ascontiguousarray(IMAGE[::2, ::2])
    (shot,) = Pictures((), hiding("face")).of(Scene(picture(got, small, 0.5), got))
    steps_hw = np.abs(np.diff(shot.image_hwc[..., 0].astype(float), axis=1))
    assert steps_hw[FACE_HW[::2, ::2][:, 1:]].max() < 64


def test_a_damaged_picture_is_not_sent() -> None:
    one = scene(FACE)
    for jpeg in (b"", b"no picture", one.picture.jpeg[:100]):
        with pytest.raises(TrackdError, match="damaged"):
            sent(replace(one, picture=replace(one.picture, jpeg=jpeg)), None)
    with pytest.raises(TrackdError, match="damaged"):  # of another size than the masks are for
        other = picture(one.result, np.ascontiguousarray(IMAGE[:100]))
        sent(replace(one, picture=other), hiding("face"))


def stamp(captured_s: float, pts: int | None = None, tick: int = 90_000) -> FrameStamp:
    base = None if pts is None else (1, tick)
    ns = round(captured_s * 1e9)
    return FrameStamp(
        seq=0, pts=pts, time_base=base, captured_ns=ns, sender_ns=None, width=4, height=4
    )


def test_times_are_the_sources_own_steps() -> None:
    timeline = Timeline()
    jittery = [stamp(0.0, 900), stamp(0.05, 3900), stamp(0.06, 6900), stamp(0.2, 12900)]
    times = [timeline.at(one) for one in jittery]
    assert times == [0, Fraction(1, 30), Fraction(2, 30), Fraction(4, 30)]


def test_times_go_on_where_the_source_begins_again() -> None:
    timeline = Timeline()
    times = [
        timeline.at(one)
        for one in (
            stamp(10.0, 90_000),
            stamp(12.5, 0),  # opened again: the time between arrivals
            stamp(12.6, 9_000),
            stamp(12.7, 90_000_000),  # a jump
            stamp(12.7, None),  # no clock and no time at all
        )
    ]
    assert times == [
        0,
        Fraction(5, 2),
        Fraction(26, 10),
        Fraction(27, 10),
        Fraction(27, 10) + Fraction(1, 30),
    ]


@pytest.mark.parametrize(
    ("text", "format_", "shown"),
    [
        ("rtsp://me:secret@10.0.0.5:8554/door", "rtsp", "rtsp://10.0.0.5:8554/***"),
        ("rtmps://live.example.org/app/abcd-efgh-1234", "flv", "rtmps://live.example.org/***"),
        ("rtsps://[fe80::1]:322/x?key=secret", "rtsp", "rtsps://[fe80::1]:322/***"),
        ("-", "mpegts", "standard output"),
    ],
)
def test_destinations_show_no_login_and_no_key(text: str, format_: str, shown: str) -> None:
    to = parse_destination(text)
    assert (to.format, to.shown) == (format_, shown)
    for secret in ("secret", "abcd"):
        assert secret not in f"{to} {to!r}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("srt://10.0.0.9:9000", "has no SRT; pipe it"),
        ("http://me:secret@10.0.0.9/x", "--to http://: not a kind of address"),
        ("clip.mp4", "neither an address with :// nor a playlist; name it NAME.m3u8"),
        ("/none/door.m3u8", "there is no folder for door.m3u8"),
        ("rtsp:///x", "has no host"),
        ("rtsp://me:secret@host:many/x", "no number as port"),
        ("rtmp:/live.example.org/app/secret", "neither an address"),
        ("live.example.org/app/secret/x.m3u8", "there is no folder for x.m3u8"),
        ("me:secret@x/..://foo", "not a kind of address"),
        ("rtsp://me:1/secret@10.0.0.5/x", "the login holds a character"),
        ("rtsp://secret#me:99@10.0.0.5", "the login holds a character"),
    ],
)
def test_what_is_no_destination_is_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_destination(text)
    assert "secret" not in str(caught.value)
