"""Prompts that wait for the first frame of a stream: as long as one may still come."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace

import pytest

from streams.mailbox import Mailbox
from tests.support.live_scene import SETTINGS, drawn, live
from tests.support.small_pico import small_pico
from tracker.daemon.messages import ListCommand, LiveFrame, PromptCommand, RequestError, Tracked
from tracker.daemon.tracking.scheduler import CommandResult, Scheduler
from tracker.engine import Policy
from tracker.protocol.replies import ErrorCode, PromptResult

DEADLINE_S = 60.0


class Daemon:
    """A scheduler with one stream that has no frame yet."""

    def __init__(self) -> None:
        self.tracked: list[Tracked] = []
        self.scheduler = Scheduler(
            small_pico(),
            Policy(history_frames=4, max_objects=3),
            commands_queued=3,
            on_tracked=self.tracked.append,
            on_event=lambda _: None,
        )
        self.mailbox: Mailbox[LiveFrame] = Mailbox(
            capacity=50, drop_stale=True, on_put=self.scheduler.wake
        )
        self.slot = self.scheduler.add("cam", SETTINGS, self.mailbox)
        self.scheduler.start()

    def submit(self, seq: int, wait_s: float, **more: object) -> "Future[CommandResult]":
        return self.scheduler.submit(self.slot, drawn(seq, wait_s=wait_s, **more))

    def overtaken(self) -> None:
        """All that was asked for before has been looked at once this returns."""
        self.scheduler.submit(self.slot, ListCommand()).result(DEADLINE_S)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    daemon = Daemon()
    yield daemon
    assert daemon.scheduler.stop(DEADLINE_S)


def refusal(future: "Future[CommandResult]") -> RequestError:
    error = future.exception(DEADLINE_S)
    assert isinstance(error, RequestError)
    return error


def test_a_prompt_waits_for_the_first_frame_and_holds_nobody_up(daemon: Daemon) -> None:
    future = daemon.submit(7, DEADLINE_S)
    daemon.overtaken()
    assert not future.done()
    assert daemon.slot.status().commands_waiting == 1
    daemon.mailbox.put(live(7))
    result = future.result(DEADLINE_S)
    assert isinstance(result, PromptResult)
    assert (result.frame_seq, result.created) == (7, True)
    assert daemon.slot.status().commands_waiting == 0


def test_prompts_that_waited_are_applied_in_their_order(daemon: Daemon) -> None:
    futures = [daemon.submit(0, DEADLINE_S, label=label) for label in ("one", "two", "three")]
    daemon.mailbox.put(live(0))
    results = [future.result(DEADLINE_S) for future in futures]
    told = [(one.object.id, one.object.label) for one in results if isinstance(one, PromptResult)]
    assert told == [(1, "one"), (2, "two"), (3, "three")]


def test_where_none_comes_in_time_it_is_said(daemon: Daemon) -> None:
    asked_s = time.monotonic()
    refused = refusal(daemon.submit(0, 0.2))
    assert time.monotonic() - asked_s >= 0.2
    assert refused.code is ErrorCode.NO_FRAME
    assert "gave no frame to prompt on within 0.2 s" in refused.message


def test_without_a_wait_it_is_said_at_once(daemon: Daemon) -> None:
    refused = refusal(daemon.submit(0, 0.0))
    assert (refused.code, refused.hint) == (
        ErrorCode.NO_FRAME,
        "wait until the stream sends masks",
    )


@pytest.mark.parametrize("before", [True, False], ids=["failed before", "fails meanwhile"])
def test_a_source_that_fails_ends_the_wait_with_its_error(daemon: Daemon, before: bool) -> None:
    why = "connection refused: rtsp://***@10.0.0.5/main; check the host"
    if before:
        daemon.scheduler.silence(daemon.slot, why)
    future = daemon.submit(0, DEADLINE_S)
    if not before:
        daemon.overtaken()
        assert not future.done()
        daemon.scheduler.silence(daemon.slot, why)
    refused = refusal(future)
    assert refused.code is ErrorCode.NO_FRAME
    assert refused.message == f"stream cam gives no frame to prompt on: {why}"
    daemon.scheduler.silence(daemon.slot, "")
    again = daemon.submit(3, DEADLINE_S)
    daemon.mailbox.put(live(3))
    assert isinstance(again.result(DEADLINE_S), PromptResult)


def test_a_file_that_ended_before_its_frames_were_tracked_still_gives_them(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    tracker = daemon.slot.stream_tracker
    track: Callable[..., Tracked] = tracker.track

    def held(frame: LiveFrame, *, dropped: int) -> Tracked:
        begun.set()
        assert go_on.wait(DEADLINE_S)
        return track(frame, dropped=dropped)

    monkeypatch.setattr(tracker, "track", held)
    daemon.mailbox.put(live(5))
    assert begun.wait(DEADLINE_S)
    future = daemon.submit(5, DEADLINE_S)
    daemon.scheduler.silence(daemon.slot, "clip.mp4 was read to its end")
    go_on.set()
    result = future.result(DEADLINE_S)
    assert isinstance(result, PromptResult) and result.frame_seq == 5


def test_so_many_may_wait_and_no_more(daemon: Daemon) -> None:
    futures = [daemon.submit(0, DEADLINE_S) for _ in range(3)]
    daemon.scheduler.wake()
    with pytest.raises(RequestError) as refused:
        daemon.submit(0, DEADLINE_S)
    assert refused.value.code is ErrorCode.BUSY
    assert futures[0].cancel(), "who gives up makes room"


def test_an_object_that_must_be_there_is_not_waited_for(daemon: Daemon) -> None:
    refused = refusal(daemon.submit(0, DEADLINE_S, object_id=9, must_exist=True))
    assert refused.code is ErrorCode.UNKNOWN_OBJECT


def test_a_prompt_that_fits_no_frame_is_refused_once_there_is_one(daemon: Daemon) -> None:
    command = replace(PromptCommand(None, box=(9, 9, 3, 3)), wait_s=DEADLINE_S)
    future = daemon.scheduler.submit(daemon.slot, command)
    daemon.mailbox.put(live(0))
    assert refusal(future).code is ErrorCode.BAD_PROMPT


def test_the_end_of_the_stream_or_of_the_daemon_ends_the_wait(daemon: Daemon) -> None:
    removed = daemon.submit(0, DEADLINE_S)
    daemon.overtaken()
    daemon.scheduler.remove(daemon.slot)
    assert refusal(removed).code is ErrorCode.UNKNOWN_STREAM
    daemon.slot = daemon.scheduler.add("cam", SETTINGS, daemon.mailbox)
    stopped = daemon.submit(0, DEADLINE_S)
    daemon.overtaken()
    assert daemon.scheduler.stop(DEADLINE_S)
    assert refusal(stopped).code is ErrorCode.SHUTTING_DOWN
