"""Pictures and masks of the same frame, whichever comes first."""

from dataclasses import replace
from functools import partial

import pytest

from tests.support.tracked_frames import tracked
from tracker.client.received import Picture, Result
from tracker.daemon.publish.encode import encode_objects, frame_message, masks_message
from tracker.studio.joining import KEPT, SceneJoiner


def result(seq: int, epoch: str = "a") -> Result:
    one = tracked(seq)
    one = replace(one, live=replace(one.live, epoch=epoch))
    encoded = encode_objects(one.result.objects, "rle", 48, 64)
    return Result(masks_message(one, encoded, seq=seq, encoded_s=one.tracked_s), ())


def picture(seq: int, epoch: str = "a") -> Picture:
    one = tracked(seq)
    one = replace(one, live=replace(one.live, epoch=epoch))
    return Picture(frame_message(one, seq=seq, scale=1.0), b"jpeg %d" % seq)


@pytest.mark.parametrize("order", [(result, picture), (picture, result)])
def test_both_of_a_frame_make_a_scene(order: tuple[partial, partial]) -> None:
    joiner = SceneJoiner()
    first, second = order
    assert joiner.add(first(3)) is None
    scene = joiner.add(second(3))
    assert scene is not None
    assert scene.picture.jpeg == b"jpeg 3"
    assert scene.result.message.frame.seq == 3


def test_neighbours_are_never_put_together() -> None:
    joiner = SceneJoiner()
    assert [joiner.add(one) for one in (result(3), picture(4), picture(2))] == [None] * 3
    assert joiner.add(picture(3)) is not None


def test_the_same_number_of_another_run_is_another_frame() -> None:
    joiner = SceneJoiner()
    joiner.add(result(3, "a"))
    assert joiner.add(picture(3, "b")) is None


def test_what_is_older_than_a_scene_is_forgotten() -> None:
    joiner = SceneJoiner()
    for one in (result(1), result(2), picture(2)):
        joiner.add(one)
    assert joiner.add(picture(1)) is None


def test_what_never_finds_its_other_half_is_bounded() -> None:
    joiner = SceneJoiner()
    for seq in range(KEPT + 1):
        joiner.add(result(seq))
    assert joiner.add(picture(0)) is None
    assert joiner.add(picture(KEPT)) is not None
