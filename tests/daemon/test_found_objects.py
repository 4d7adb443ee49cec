"""Objects that a finder found, in the tracker: their births on old frames, and their end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.daemon.test_stream_tracker import NOWHERE, Stream
from tests.support.live_scene import SETTINGS, drawn, live, masks
from tracker.daemon.messages import (
    BirthRefusedError,
    FoundBy,
    PromptCommand,
    RemoveCommand,
    RequestError,
    RestoreCommand,
)
from tracker.finders.births import BirthPolicy, Refusal
from tracker.protocol.data import EventName
from tracker.protocol.fields import FindSettings, FrameAddress
from tracker.protocol.replies import ErrorCode

NS_STEP = 40_000_000  # from frame to frame of the scene


def proposed(
    seq: int, *, known: tuple[int, ...] = (), policy: BirthPolicy | None = None
) -> PromptCommand:
    """The square, as a finder proposes it that looked at frame `seq`."""
    by = FoundBy("motion", 0.875, policy or BirthPolicy(), frozenset(known))
    return replace(drawn(seq, frame=FrameAddress(seq=seq, epoch="ab")), found=by, label="square")


@pytest.fixture
def stream() -> Stream:
    find = FindSettings(finder="motion", expire_after_s=4 * NS_STEP * 1e-9)
    one = Stream(settings=SETTINGS.model_copy(update={"find": find}))
    one.see(10, 11, 12)
    return one


@pytest.mark.slow
def test_it_begins_on_the_frame_that_was_looked_at_and_is_told_of(stream: Stream) -> None:
    result = stream.prompt(proposed(10))
    assert (result.frame_seq, result.newest_seq, result.replayed_frames) == (10, 12, 2)
    assert result.object.found
    wanted = [(EventName.OBJECT_ADDED, 1), (EventName.FIND_ACCEPTED, 1)]
    accepted = stream.events[1]
    assert stream.told() == wanted
    assert (accepted.text, accepted.label) == ("found by motion, score 0.88", "square")
    assert stream.status().found == 1
    by_hand = Stream()
    by_hand.see(10, 11, 12)
    by_hand.prompt(drawn(10, frame=FrameAddress(seq=10)))
    stream.see(13)
    by_hand.see(13)
    assert np.array_equal(masks(stream.newest)[0], masks(by_hand.newest)[0])


def test_a_frame_that_is_gone_is_refused(stream: Stream) -> None:
    stream.see(13, 14, 15, 16)
    assert stream.refusal(proposed(10)).code is ErrorCode.FRAME_GONE


def test_what_was_prompted_while_the_finder_looked_is_not_found_again(stream: Stream) -> None:
    stream.prompt(drawn(12))
    refused = stream.refusal(proposed(12))
    assert isinstance(refused, BirthRefusedError)
    assert refused.reason is Refusal.TRACKED
    # What the proposal was compared with when it was made is not compared again.
    assert stream.prompt(proposed(12, known=(1,))).created


@pytest.mark.parametrize(
    "prompt",
    [drawn(12), drawn(10, frame=FrameAddress(seq=10), defer_replay=True)],
    ids=["on a newer frame", "on an older one, not yet tracked again"],
)
def test_what_was_prompted_on_another_frame_is_not_found_again(
    stream: Stream, prompt: PromptCommand
) -> None:
    made = stream.prompt(prompt)
    told = len(stream.events)
    with pytest.raises(BirthRefusedError) as refused:
        stream.tracker.apply(proposed(11))
    assert refused.value.reason is Refusal.TRACKED
    assert [obj.id for obj in stream.objects()] == [made.object.id]
    assert EventName.OBJECT_ADDED not in [event.name for event in stream.events[told:]]
    assert stream.prompt(drawn(12)).object.id == made.object.id + 1


def test_there_are_no_more_than_the_policy_allows(stream: Stream) -> None:
    stream.prompt(drawn(12))
    refused = stream.refusal(proposed(12, known=(1,), policy=BirthPolicy(max_objects=1)))
    assert isinstance(refused, BirthRefusedError)
    assert refused.reason is Refusal.FULL


def vanish(stream: Stream, first: int, count: int) -> None:
    """Show the scene without the square."""
    for seq in range(first, first + count):
        stream.newest = stream.tracker.track(live(seq, NOWHERE), dropped=0)


@pytest.mark.slow
def test_it_expires_when_it_has_had_no_mask_for_long_and_others_stay(stream: Stream) -> None:
    stream.prompt(proposed(12))
    stream.prompt(drawn(12))
    vanish(stream, 13, 12)
    assert [obj.id for obj in stream.objects()] == [2]
    assert stream.status().expired == 1
    told = stream.told()
    assert told.index((EventName.OBJECT_REMOVED, 1)) + 1 == told.index((EventName.FIND_EXPIRED, 1))


def test_time_without_frames_is_no_time_without_a_mask() -> None:
    find = FindSettings(finder="motion", expire_after_s=5.0)
    stream = Stream(settings=SETTINGS.model_copy(update={"find": find}))
    stream.see(10, 11, 12)
    stream.prompt(proposed(12))
    stream.see(13)
    vanish(stream, 13 + 3600 * 25, 1)  # an hour later
    assert [obj.id for obj in stream.objects()] == [1]


def test_what_a_client_removes_does_not_expire(stream: Stream) -> None:
    stream.prompt(proposed(12))
    stream.tracker.apply(RemoveCommand(1))
    vanish(stream, 13, 8)
    assert stream.status().expired == 0


@pytest.mark.slow
def test_it_still_expires_after_a_restart(stream: Stream, tmp_path: Path) -> None:
    stream.prompt(proposed(12))
    stream.prompt(drawn(12))
    stream.save(tmp_path / "s")
    listed = tuple((obj.id, obj.label) for obj in stream.objects())
    ids = tuple(obj.id for obj in stream.objects() if obj.found)
    assert ids == (1,)
    find = FindSettings(finder="motion", expire_after_s=0.1)
    again = Stream(settings=SETTINGS.model_copy(update={"find": find}))
    again.tracker.apply(RestoreCommand(tmp_path / "s", objects=listed, found=ids))
    assert [obj.found for obj in again.objects()] == [True, False]
    vanish(again, 13, 12)
    assert [obj.id for obj in again.objects()] == [2]


@pytest.mark.slow
def test_without_a_finder_nothing_expires() -> None:
    plain = Stream()
    plain.see(10, 11, 12)
    plain.prompt(proposed(12))
    vanish(plain, 13, 12)
    assert [obj.id for obj in plain.objects()] == [1]


def test_a_box_is_compared_by_boxes(stream: Stream) -> None:
    stream.prompt(drawn(12))
    box = PromptCommand(
        None,
        box=(62, 40, 102, 80),
        frame=FrameAddress(seq=12),
        found=FoundBy("text", 0.5, BirthPolicy(), frozenset()),
    )
    with pytest.raises(RequestError, match="tracked already"):
        stream.tracker.apply(box)
