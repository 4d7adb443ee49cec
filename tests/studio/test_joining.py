"""Pictures and masks of the same frame; the masks come first."""

from dataclasses import replace

from tests.support.tracked_frames import tracked
from tracker.client.joining import KEPT
from tracker.client.received import Picture, Result
from tracker.daemon.publish.encode import encode_objects, frame_message, masks_message
from tracker.protocol.fields import PreviewSize
from tracker.studio.joining import SceneJoiner


def result(seq: int, epoch: str = "a") -> Result:
    one = tracked(seq)
    one = replace(one, live=replace(one.live, epoch=epoch))
    encoded = encode_objects(one.result.objects, "rle", 48, 64)
    return Result(masks_message(one, encoded, seq=seq, encoded_s=one.tracked_s), ())


def picture(seq: int, epoch: str = "a", size: PreviewSize | None = PreviewSize.MEDIUM) -> Picture:
    one = tracked(seq)
    one = replace(one, live=replace(one.live, epoch=epoch))
    return Picture(frame_message(one, seq=seq, scale=1.0, size=size), b"jpeg %d" % seq)


def test_both_of_a_frame_make_a_scene() -> None:
    joiner = SceneJoiner()
    assert joiner.add(result(3)) is None
    scene = joiner.add(picture(3))
    assert scene is not None
    assert scene.picture.jpeg == b"jpeg 3"
    assert scene.result.message.frame.seq == 3


def test_each_size_of_a_frame_makes_a_scene_of_its_own() -> None:
    joiner = SceneJoiner()
    joiner.add(result(3))
    joiner.add(result(4))
    tile = joiner.add(picture(3, size=PreviewSize.TILE))
    large = joiner.add(picture(3, size=PreviewSize.LARGE))
    assert tile is not None and large is not None
    assert (tile.size, large.size) == ("tile", "large")
    assert large.number == tile.number + 1


def test_neighbours_are_never_put_together() -> None:
    joiner = SceneJoiner()
    assert [joiner.add(one) for one in (result(3), picture(4), picture(2))] == [None] * 3
    assert joiner.add(picture(3)) is not None


def test_the_same_number_of_another_run_is_another_frame() -> None:
    joiner = SceneJoiner()
    joiner.add(result(3, "a"))
    assert joiner.add(picture(3, "b")) is None


def test_the_masks_that_wait_are_bounded() -> None:
    joiner = SceneJoiner()
    for seq in range(KEPT + 1):
        joiner.add(result(seq))
    assert joiner.add(picture(0)) is None
    assert joiner.add(picture(KEPT)) is not None
