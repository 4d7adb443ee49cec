"""Drafts: tracked and corrected like other objects, and seen by nobody until they are accepted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.daemon.test_stream_tracker import Stream
from tests.support.live_scene import drawn, iou, masks
from tests.support.moving_scene import square
from tracker.daemon.messages import (
    AcceptCommand,
    PromptCommand,
    RelabelCommand,
    RemoveCommand,
    ResetCommand,
    RestoreCommand,
)
from tracker.daemon.tracking import drafts
from tracker.engine.object_update import ObjectUpdate
from tracker.protocol.data import EventName
from tracker.protocol.fields import FrameAddress
from tracker.protocol.replies import ErrorCode, ObjectInfo
from tracker.rle import Rle, decode_rle


@pytest.fixture
def stream() -> Stream:
    one = Stream()
    one.see(10, 11, 12)
    return one


def draft(stream: Stream, seq: int = 12) -> int:
    return stream.prompt(drawn(seq, draft=True)).object.id


def test_a_draft_is_in_no_message_no_list_and_no_event(stream: Stream) -> None:
    draft(stream)
    stream.see(13)
    assert stream.newest.result.objects == ()
    assert stream.objects() == []
    assert stream.status().objects == ()
    assert stream.told() == []


@pytest.mark.slow
def test_what_is_accepted_is_as_if_it_had_never_been_a_draft(stream: Stream) -> None:
    plain = Stream()
    plain.see(10, 11, 12)
    plain.prompt(drawn(12, label="cup"))
    plain.see(13, 14)
    object_id = stream.prompt(drawn(12, draft=True, label="cup")).object.id
    stream.see(13)
    assert isinstance(stream.tracker.apply(AcceptCommand(object_id)), ObjectInfo)
    assert stream.told() == [(EventName.OBJECT_ADDED, object_id)]
    stream.see(14)
    assert stream.objects() == plain.objects()
    assert np.array_equal(masks(stream.newest)[0], masks(plain.newest)[0])


def test_other_objects_are_shown_beside_a_draft(stream: Stream) -> None:
    shown = stream.prompt(drawn(12)).object.id
    draft(stream)
    stream.see(13)
    assert [obj.id for obj in stream.newest.result.objects] == [shown]
    assert [obj.id for obj in stream.objects()] == [shown]


def test_a_draft_takes_corrections_and_can_be_given_up(stream: Stream) -> None:
    object_id = draft(stream)
    correction = PromptCommand(object_id, points=((30.0, 30.0),), labels=(1,), must_exist=True)
    assert stream.prompt(correction).created is False
    stream.tracker.apply(RelabelCommand(object_id, "cup"))
    stream.tracker.apply(ResetCommand(object_id))
    stream.tracker.apply(RemoveCommand(object_id))
    assert stream.told() == []
    assert stream.refusal(AcceptCommand(object_id)).code is ErrorCode.UNKNOWN_OBJECT


def test_a_draft_that_nobody_touches_is_given_up(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "DRAFT_S", 0.0)
    object_id = draft(stream)
    stream.see(13)
    assert stream.refusal(AcceptCommand(object_id)).code is ErrorCode.UNKNOWN_OBJECT
    assert stream.told() == []


def test_drafts_count_as_objects(stream: Stream) -> None:
    for _ in range(3):
        draft(stream)
    assert stream.refusal(drawn(12)).code is ErrorCode.LIMIT


def test_accepting_twice_does_nothing(stream: Stream) -> None:
    object_id = draft(stream)
    stream.tracker.apply(AcceptCommand(object_id))
    stream.told()
    stream.tracker.apply(AcceptCommand(object_id))
    assert stream.told() == []


def test_a_restart_brings_no_draft_back(stream: Stream, tmp_path: Path) -> None:
    draft(stream)
    stream.save(tmp_path / "snapshot")
    listed = tuple((obj.id, obj.label) for obj in stream.status().objects)
    again = Stream()
    again.tracker.apply(RestoreCommand(tmp_path / "snapshot", objects=listed))
    again.see(13)
    assert again.newest.result.objects == ()


@pytest.mark.slow
def test_a_replay_that_was_deferred_gives_the_same_masks(stream: Stream) -> None:
    at_once = Stream()
    at_once.see(10, 11, 12)
    command = drawn(10, frame=FrameAddress(seq=10), return_mask=True)
    done = at_once.prompt(command)
    deferred = stream.prompt(replace(command, defer_replay=True))
    assert (done.replayed_frames, done.deferred_frames) == (2, 0)
    assert (deferred.replayed_frames, deferred.deferred_frames) == (0, 2)
    assert deferred.mask == done.mask
    assert stream.objects()[0].box is None
    stream.tracker.replay_next()
    assert stream.tracker.is_behind
    stream.tracker.replay_next()
    assert not stream.tracker.is_behind
    assert stream.objects() == at_once.objects()
    at_once.see(13)
    stream.see(13)
    assert np.array_equal(masks(stream.newest)[0], masks(at_once.newest)[0])


@pytest.mark.slow
@pytest.mark.parametrize("then", ["step", "save", "earlier click", "later click", "remove"])
def test_what_comes_during_a_deferred_replay_finds_the_object_whole(
    stream: Stream, then: str, tmp_path: Path
) -> None:
    plain = Stream()
    plain.see(10, 11, 12)
    first = drawn(11, 1, frame=FrameAddress(seq=11))
    plain.prompt(first)
    stream.prompt(replace(first, defer_replay=True))
    seq = {"earlier click": 10, "later click": 12}.get(then)
    if seq is not None:
        click = PromptCommand(1, points=((30.0, 30.0),), frame=FrameAddress(seq=seq))
        plain.prompt(click)
        stream.prompt(replace(click, defer_replay=True))
    elif then == "save":
        stream.save(tmp_path / "snapshot")
    elif then == "remove":
        for one in (plain, stream):
            one.tracker.apply(RemoveCommand(1))
    for one in (plain, stream):
        one.see(13)
    assert not stream.tracker.is_behind
    assert [obj.id for obj in stream.objects()] == [obj.id for obj in plain.objects()]
    for ours, theirs in zip(masks(stream.newest), masks(plain.newest), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_deferred_replay_that_fails_leaves_the_object_as_it_is(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> None:
        raise RuntimeError("out of memory")

    stream.prompt(drawn(10, frame=FrameAddress(seq=10), defer_replay=True))
    with monkeypatch.context() as patch:
        patch.setattr(ObjectUpdate, "replay", out_of_memory)
        with pytest.raises(RuntimeError, match="out of memory"):
            stream.tracker.replay_next()
    assert not stream.tracker.is_behind
    stream.see(13)
    assert [obj.id for obj in stream.objects()] == [1]


def test_the_mask_comes_back_on_the_frame_that_was_drawn_on(stream: Stream) -> None:
    stream.see(13, 14)
    asked = drawn(11, return_mask=True, frame=FrameAddress(seq=11))
    result = stream.prompt(asked)
    assert result.mask is not None
    mask_hw = decode_rle(Rle(*result.mask.size, result.mask.counts))
    assert iou(mask_hw, square(11)) > 0.7 > iou(mask_hw, square(40))
    assert stream.prompt(replace(asked, return_mask=False)).mask is None
