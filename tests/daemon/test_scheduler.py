"""All streams in one thread: in turns, with commands between frames, whatever fails."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streams.mailbox import Mailbox
from tests.support.live_scene import SETTINGS, drawn, live
from tests.support.small_pico import small_pico
from tracker.daemon.control.asking import ASKING
from tracker.daemon.messages import (
    Command,
    Event,
    ListCommand,
    LiveFrame,
    RemoveCommand,
    RequestError,
    RestoreCommand,
    SaveCommand,
    Tracked,
)
from tracker.daemon.tracking.scheduler import CommandResult, Scheduler
from tracker.daemon.tracking.slot import Gate, Slot, Waiting
from tracker.engine import ComputeBudget, Policy, prefetch
from tracker.engine.memory_bank import MemoryBank
from tracker.engine.session import Session
from tracker.protocol.data import EventName
from tracker.protocol.fields import FrameAddress
from tracker.protocol.replies import ErrorCode, ObjectsResult, PromptResult

DEADLINE_S = 60.0
BROKEN = np.zeros((3, 3), np.uint8)  # no picture: tracking it raises an error


class Daemon:
    """A scheduler with the mailboxes of its streams, and all that it sends."""

    def __init__(self) -> None:
        self.tracked: list[Tracked] = []
        self.events: list[Event] = []
        self.mailboxes: dict[str, Mailbox[LiveFrame]] = {}
        self.slots: dict[str, Slot] = {}
        self.scheduler = Scheduler(
            small_pico(),
            Policy(history_frames=4, max_objects=3),
            commands_queued=3,
            on_tracked=self.tracked.append,
            on_event=self.events.append,
        )

    def add(self, *streams: str, capacity: int = 50) -> None:
        for stream in streams:
            mailbox: Mailbox[LiveFrame] = Mailbox(
                capacity=capacity, drop_stale=True, on_put=self.scheduler.wake
            )
            self.mailboxes[stream] = mailbox
            self.slots[stream] = self.scheduler.add(stream, SETTINGS, mailbox)

    def submit(self, stream: str, command: Command) -> "Future[CommandResult]":
        return self.scheduler.submit(self.slots[stream], command)

    def put(self, stream: str, *seqs: int) -> None:
        for seq in seqs:
            self.mailboxes[stream].put(live(seq, stream=stream))

    def put_broken(self, stream: str, *seqs: int) -> None:
        for seq in seqs:
            self.mailboxes[stream].put(live(seq, BROKEN, stream=stream))

    def order(self) -> list[tuple[str, int]]:
        return [(one.live.frame.stream, one.live.frame.seq) for one in self.tracked]

    def wait_for(self, count: int) -> None:
        """Until so many frames are tracked."""
        wait_until(lambda: len(self.tracked) >= count)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "never came true"
        time.sleep(0.005)


def lost(object_id: int) -> RestoreCommand:
    """A command that works without a frame: list an object as lost."""
    return RestoreCommand(Path("none"), True, ((object_id, None),))


def refusal(future: "Future[CommandResult]") -> ErrorCode:
    error = future.exception(DEADLINE_S)
    assert isinstance(error, RequestError)
    return error.code


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    daemon = Daemon()
    yield daemon
    assert daemon.scheduler.stop(DEADLINE_S)


@pytest.fixture
def held_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Every step of a session waits: (one has begun, go on)."""
    begun, go_on = threading.Event(), threading.Event()
    step = Session.step

    def held(self: Session, image_hwc: np.ndarray, budget: ComputeBudget) -> object:
        begun.set()
        assert go_on.wait(DEADLINE_S)
        return step(self, image_hwc, budget)

    monkeypatch.setattr(Session, "step", held)
    yield begun, go_on
    go_on.set()


class TestFrames:
    def test_frames_are_tracked_in_order_and_those_dropped_are_told(self, daemon: Daemon) -> None:
        daemon.add("cam", capacity=2)
        daemon.put("cam", 10, 11, 12, 13, 14)
        daemon.scheduler.start()
        daemon.wait_for(2)
        daemon.put("cam", 15)
        daemon.wait_for(3)
        assert daemon.order() == [("cam", 13), ("cam", 14), ("cam", 15)]
        assert [one.dropped for one in daemon.tracked] == [3, 0, 0]
        first = daemon.tracked[0]
        assert first.settings is SETTINGS
        assert first.begun_s <= first.tracked_s

    def test_streams_take_turns(self, daemon: Daemon) -> None:
        daemon.add("a", "b", "c")
        daemon.put("a", 1, 2, 3, 4)
        daemon.put("c", 1, 2)
        daemon.scheduler.start()
        daemon.wait_for(6)
        assert daemon.order() == [("a", 1), ("c", 1), ("a", 2), ("c", 2), ("a", 3), ("a", 4)]

    def test_a_stream_that_never_pauses_does_not_hold_up_another(
        self, daemon: Daemon, held_step: tuple[threading.Event, threading.Event]
    ) -> None:
        begun, go_on = held_step
        daemon.add("busy", "rare")
        daemon.put("busy", *range(10))
        daemon.scheduler.start()
        assert begun.wait(DEADLINE_S)
        daemon.put("rare", 7)  # while the first frame of the other is being tracked
        go_on.set()
        daemon.wait_for(3)
        assert daemon.order()[:3] == [("busy", 0), ("rare", 7), ("busy", 1)]

    def test_only_the_thread_that_tracks_computes(
        self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each thread that computes has a team of threads of its own, and teams get in the way."""
        makers: list[str] = []
        make = MemoryBank.__init__

        def noted(self: MemoryBank, *args: Any, **more: Any) -> None:
            makers.append(threading.current_thread().name)
            make(self, *args, **more)

        monkeypatch.setattr(MemoryBank, "__init__", noted)
        daemon.add("a", "b")
        assert daemon.slots["a"].status().bank_bytes == 0
        daemon.put("a", 1)
        daemon.put("b", 1)
        daemon.scheduler.start()
        daemon.wait_for(2)
        assert makers == ["scheduler", "scheduler"]
        assert daemon.slots["a"].status().bank_bytes > 0


class Stepper:
    """Lets a daemon do one step of a session after the other, and looks ahead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.daemon = Daemon()
        self._begun, self._go_on = threading.Semaphore(0), threading.Semaphore(0)
        step = Session.step

        def held(session: Session, image_hwc: np.ndarray, budget: ComputeBudget) -> object:
            self._begun.release()
            assert self._go_on.acquire(timeout=DEADLINE_S)
            return step(session, image_hwc, budget)

        monkeypatch.setattr(Session, "step", held)
        monkeypatch.setattr(prefetch, "AHEAD_RATIO", 1e9)

    def wait(self) -> None:
        """Until a step has begun."""
        assert self._begun.acquire(timeout=DEADLINE_S)

    def finish(self, steps: int = 1) -> None:
        """Let it end, and more after it."""
        self._go_on.release(steps)

    def begin_with_one_ahead(self) -> None:
        """The step of frame 12 has begun, and frame 13 is taken from a mailbox for two frames."""
        self.daemon.add("cam", capacity=2)
        self.daemon.put("cam", 10)
        self.daemon.scheduler.start()
        self.wait()
        prompted = self.daemon.submit("cam", drawn(10))
        self.finish()
        prompted.result(DEADLINE_S)
        self.daemon.put("cam", 11)
        self.wait()
        self.daemon.put("cam", 12, 13)
        self.finish()
        self.wait()
        assert len(self.daemon.mailboxes["cam"]) == 0


@pytest.fixture
def stepper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stepper]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # so that there is a helper
    stepper = Stepper(monkeypatch)
    torch.set_num_threads(1)  # float32 is encoded ahead where both compute alone
    yield stepper
    stepper.finish(100)
    assert stepper.daemon.scheduler.stop(DEADLINE_S)
    torch.set_num_threads(threads)


class TestAFrameThatIsEncodedAhead:
    @pytest.mark.slow
    def test_it_is_tracked_next_and_what_is_dropped_meanwhile_is_told_after_it(
        self, stepper: Stepper
    ) -> None:
        stepper.begin_with_one_ahead()
        stepper.daemon.put("cam", 14, 15, 16)
        stepper.daemon.scheduler._helper.submit(lambda: None).result()  # it is encoded
        stepper.finish(100)
        stepper.daemon.wait_for(6)
        tracked = {one.live.frame.seq: one for one in stepper.daemon.tracked}
        assert list(tracked) == [10, 11, 12, 13, 15, 16]
        assert [one.dropped for one in tracked.values()] == [0, 0, 0, 0, 1, 0]
        assert tracked[12].result.times.ahead_s == 0 < tracked[13].result.times.ahead_s

    @pytest.mark.slow
    def test_a_command_means_the_frame_before_it(self, stepper: Stepper) -> None:
        stepper.begin_with_one_ahead()
        prompted = stepper.daemon.submit("cam", drawn(12))
        stepper.finish()
        result = prompted.result(DEADLINE_S)
        assert isinstance(result, PromptResult)
        assert result.newest_seq == 12
        stepper.finish()
        stepper.daemon.wait_for(4)
        assert [len(one.result.objects) for one in stepper.daemon.tracked] == [0, 1, 1, 2]

    @pytest.mark.slow
    def test_it_goes_with_its_stream(self, stepper: Stepper) -> None:
        stepper.begin_with_one_ahead()
        stepper.daemon.scheduler.remove(stepper.daemon.slots["cam"])
        stepper.daemon.add("cam")
        stepper.daemon.put("cam", 50)
        stepper.finish(100)
        stepper.daemon.wait_for(3)
        assert stepper.daemon.order() == [("cam", 10), ("cam", 11), ("cam", 50)]

    @pytest.mark.slow
    def test_one_that_cannot_be_encoded_is_skipped_and_counted(self, stepper: Stepper) -> None:
        stepper.begin_with_one_ahead()
        stepper.daemon.put_broken("cam", 14)
        stepper.daemon.put("cam", 15)
        stepper.finish(100)
        stepper.daemon.wait_for(5)
        assert [seq for _, seq in stepper.daemon.order()] == [10, 11, 12, 13, 15]
        assert stepper.daemon.slots["cam"].status().failed == 1

    @pytest.mark.slow
    def test_no_thread_is_left_behind(self, stepper: Stepper) -> None:
        stepper.begin_with_one_ahead()
        assert "helper_0" in {thread.name for thread in threading.enumerate()}
        stepper.finish(100)
        assert stepper.daemon.scheduler.stop(DEADLINE_S)
        wait_until(lambda: "helper_0" not in {thread.name for thread in threading.enumerate()})


class TestCommands:
    def test_commands_are_applied_while_no_frame_comes(self, daemon: Daemon) -> None:
        daemon.add("cam")
        daemon.scheduler.start()
        empty = daemon.submit("cam", ListCommand()).result(DEADLINE_S)
        assert empty == ObjectsResult(stream="cam", objects=[])
        daemon.put("cam", 10)
        daemon.wait_for(1)
        prompted = daemon.submit("cam", drawn(10)).result(DEADLINE_S)
        assert isinstance(prompted, PromptResult)
        assert (prompted.object.id, prompted.frame_seq) == (1, 10)
        assert [event.name for event in daemon.events] == [EventName.OBJECT_ADDED]
        assert daemon.slots["cam"].status().objects == (prompted.object,)

    def test_a_command_is_applied_between_the_frame_in_progress_and_the_next(
        self, daemon: Daemon, held_step: tuple[threading.Event, threading.Event]
    ) -> None:
        begun, go_on = held_step
        daemon.add("cam")
        daemon.put("cam", 10, 11, 12)
        daemon.scheduler.start()
        assert begun.wait(DEADLINE_S)
        prompted = daemon.submit("cam", drawn(10))
        go_on.set()
        result = prompted.result(DEADLINE_S)
        assert isinstance(result, PromptResult)
        assert result.frame_seq == 10
        daemon.wait_for(3)
        assert [len(one.result.objects) for one in daemon.tracked] == [0, 1, 1]

    @pytest.mark.slow
    def test_commands_without_end_do_not_hold_up_the_frames(self, daemon: Daemon) -> None:
        def ask_again(_: object) -> None:
            with contextlib.suppress(RequestError):  # the scheduler is stopped
                daemon.submit("cam", ListCommand()).add_done_callback(ask_again)

        daemon.add("cam")
        ask_again(None)
        daemon.scheduler.start()
        daemon.put("cam", 10, 11)
        daemon.wait_for(2)
        assert daemon.order() == [("cam", 10), ("cam", 11)]

    @pytest.mark.slow
    def test_a_correction_of_an_old_frame_lets_each_other_stream_go_on_at_every_frame(
        self, daemon: Daemon, held_step: tuple[threading.Event, threading.Event]
    ) -> None:
        """The object is tracked again on the four frames since: as many of each other stream."""
        begun, go_on = held_step
        go_on.set()
        daemon.add("a", "b", "c")
        daemon.put("a", 10)
        daemon.scheduler.start()
        daemon.wait_for(1)
        daemon.submit("a", drawn(10)).result(DEADLINE_S)
        daemon.put("a", 11, 12, 13)
        daemon.wait_for(4)
        go_on.clear()
        begun.clear()
        daemon.put("a", 14)
        assert begun.wait(DEADLINE_S)
        old = FrameAddress(seq=10)
        corrected = daemon.submit("a", drawn(10, 1, must_exist=True, frame=old))
        by_then: list[tuple[str, int]] = []
        corrected.add_done_callback(lambda _: by_then.extend(daemon.order()[5:]))
        daemon.put("b", *range(20, 30))
        daemon.put("c", 20, 21)
        go_on.set()
        result = corrected.result(DEADLINE_S)
        assert isinstance(result, PromptResult)
        assert result.replayed_frames == 4
        assert sorted(by_then) == [("b", 20), ("b", 21), ("b", 22), ("b", 23), ("c", 20), ("c", 21)]
        assert [name for name, _ in by_then[:4]] in (list("bcbc"), list("cbcb"))
        daemon.wait_for(17)
        assert [seq for name, seq in daemon.order() if name == "b"] == list(range(20, 30))

    def test_between_two_commands_of_a_stream_the_others_go_on(
        self, daemon: Daemon, held_step: tuple[threading.Event, threading.Event]
    ) -> None:
        begun, go_on = held_step
        daemon.add("a", "b")
        daemon.put("a", 10)
        daemon.scheduler.start()
        assert begun.wait(DEADLINE_S)
        tracked_by_then: list[int] = []
        for _ in range(3):
            listed = daemon.submit("a", ListCommand())
            listed.add_done_callback(lambda _: tracked_by_then.append(len(daemon.tracked)))
        daemon.put("b", 20, 21, 22)
        go_on.set()
        daemon.wait_for(4)
        assert tracked_by_then == [1, 2, 3]

    def test_a_refusal_reaches_the_one_who_asked(self, daemon: Daemon) -> None:
        daemon.add("cam")
        daemon.scheduler.start()
        assert refusal(daemon.submit("cam", drawn(0))) is ErrorCode.NO_FRAME
        assert refusal(daemon.submit("cam", RemoveCommand(1))) is ErrorCode.UNKNOWN_OBJECT

    def test_what_comes_after_the_save_of_a_move_is_refused(self, daemon: Daemon) -> None:
        """Done here it would be lost, since another worker goes on from what was saved."""
        daemon.add("cam", "other")
        before, saved, after = (
            daemon.submit("cam", command) for command in (lost(1), SaveCommand(last=True), lost(2))
        )
        daemon.scheduler.start()
        assert before.result(DEADLINE_S)
        assert isinstance(saved.result(DEADLINE_S), bytes)
        assert refusal(after) is ErrorCode.BUSY
        with pytest.raises(RequestError, match="stream cam is being moved") as refused:
            daemon.submit("cam", ListCommand())
        assert refused.value.code is ErrorCode.BUSY
        assert daemon.submit("other", ListCommand()).result(DEADLINE_S)
        assert [obj.id for obj in daemon.slots["cam"].status().objects] == [1]

    def test_so_many_commands_may_wait(self, daemon: Daemon) -> None:
        daemon.add("cam", "other")
        waiting = [daemon.submit("cam", ListCommand()) for _ in range(3)]
        assert daemon.slots["cam"].status().commands_waiting == 3
        with pytest.raises(RequestError, match="3 commands wait for stream cam") as refused:
            daemon.submit("cam", ListCommand())
        assert refused.value.code is ErrorCode.BUSY
        waiting.append(daemon.submit("other", ListCommand()))
        daemon.scheduler.start()
        for future in waiting:
            assert future.result(DEADLINE_S)
        assert daemon.slots["cam"].status().commands_waiting == 0

    def test_one_client_leaves_half_of_the_places_to_others(self) -> None:
        scheduler = Scheduler(
            small_pico(),
            Policy(history_frames=4, max_objects=3),
            commands_queued=6,
            on_tracked=lambda _: None,
            on_event=lambda _: None,
        )
        mailbox: Mailbox[LiveFrame] = Mailbox(capacity=1, drop_stale=True, on_put=scheduler.wake)
        slot = scheduler.add("cam", SETTINGS, mailbox)

        def submit_as(client: bytes) -> None:
            asking = ASKING.set(client)
            try:
                scheduler.submit(slot, ListCommand())
            finally:
                ASKING.reset(asking)

        for _ in range(3):
            submit_as(b"greedy")
        with pytest.raises(RequestError, match="3 commands of this client wait") as caught:
            submit_as(b"greedy")
        assert caught.value.code is ErrorCode.BUSY
        submit_as(b"other")
        assert scheduler.stop(DEADLINE_S)

    def test_clients_take_turns_by_what_their_commands_took(self) -> None:
        now_s, order = [0.0], []
        costs_s = {b"dear": 1.0, b"cheap": 0.25}

        class CostlyLane:
            is_behind = False

            def waits(self, command: object) -> bool:
                return False

            def apply(self, command: tuple[bytes, int], pause: object) -> None:
                order.append(command)
                now_s[0] += costs_s[command[0]]

        mailbox: Mailbox[LiveFrame] = Mailbox(capacity=1, drop_stale=True, on_put=lambda: None)
        lane: Any = CostlyLane()
        slot = Slot(lane, Gate(print, print), mailbox, print, clock=lambda: now_s[0])
        for client in (b"dear", b"cheap"):
            slot.commands.extend(Waiting.of((client, n), client) for n in range(6))
        while (waiting := slot.next_command()) is not None:
            slot.apply(waiting, lambda: None)
        names = [client for client, _ in order]
        assert names[:6] == [b"dear"] + [b"cheap"] * 4 + [b"dear"]
        assert names[6:] == [b"cheap"] * 2 + [b"dear"] * 4
        for client in costs_s:
            assert [n for name, n in order if name == client] == list(range(6)), "in order"

    def test_a_deferred_replay_comes_after_the_reply_and_before_the_next_frame(
        self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And a second click is answered in between."""
        order: list[str] = []
        replay, go_on = Session._replay, threading.Event()

        def held(self: Session, obj: Any) -> None:
            order.append("replay")
            assert go_on.wait(DEADLINE_S)
            replay(self, obj)

        monkeypatch.setattr(Session, "_replay", held)
        daemon.add("cam")
        daemon.put("cam", 0, 1, 2, 3)
        daemon.scheduler.start()
        daemon.wait_for(4)
        click = drawn(1, 1, frame=FrameAddress(seq=1), defer_replay=True, return_mask=True)
        first = daemon.submit("cam", click).result(DEADLINE_S)
        assert isinstance(first, PromptResult) and first.mask is not None
        assert (first.replayed_frames, first.deferred_frames) == (0, 2)
        assert not first.object.updated and first.object.box is None
        second = daemon.submit("cam", click)
        daemon.put("cam", 4)
        second.add_done_callback(lambda _: order.append("reply"))
        go_on.set()
        daemon.wait_for(5)
        assert order == ["replay", "reply", "replay", "replay"]
        (obj,) = daemon.tracked[-1].result.objects
        assert obj.fresh and obj.box_xyxy is not None

    def test_a_command_that_nobody_waits_for_is_not_applied(self, daemon: Daemon) -> None:
        daemon.add("cam")
        restored = (daemon.submit("cam", lost(object_id)) for object_id in (1, 2))
        assert next(restored).cancel()
        last = next(restored)
        daemon.scheduler.start()
        assert last.result(DEADLINE_S)
        assert [event.object_id for event in daemon.events] == [2]


class TestFailures:
    def test_a_poisoned_stream_does_not_touch_the_others(
        self, daemon: Daemon, caplog: pytest.LogCaptureFixture
    ) -> None:
        daemon.add("poisoned", "well")
        daemon.put_broken("poisoned", *range(5))
        daemon.put("poisoned", 5)
        daemon.put_broken("poisoned", 6)
        daemon.put("well", *range(7))
        with caplog.at_level(logging.ERROR, logger="trackd.scheduler"):
            daemon.scheduler.start()
            daemon.wait_for(8)
            wait_until(lambda: daemon.slots["poisoned"].status().failed == 6)
        assert [one for one in daemon.order() if one[0] == "well"] == [
            ("well", i) for i in range(7)
        ]
        assert daemon.scheduler.healthy
        assert daemon.slots["poisoned"].status().tracked == 1
        assert daemon.slots["well"].status().failed == 0
        # The 1st, 2nd and 4th in a row, and the 1st again after a frame that went well.
        assert [record.getMessage() for record in caplog.records] == [
            f"stream poisoned: frame {seq} could not be tracked, {count} in a row"
            for seq, count in ((0, 1), (1, 2), (3, 4), (6, 1))
        ]
        assert all(record.exc_info for record in caplog.records)

    def test_where_memory_is_short_the_stream_of_the_largest_frames_is_given_up(
        self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def step(self: Session, image_hwc: Any, budget: ComputeBudget | None = None) -> Any:
            if image_hwc is BROKEN:  # of the stream with small frames
                raise MemoryError
            return stepped(self, image_hwc, budget)

        stepped = Session.step
        monkeypatch.setattr(Session, "step", step)
        told: list[tuple[str, str]] = []

        def add(stream: str) -> None:
            daemon.mailboxes[stream] = Mailbox(
                capacity=9, drop_stale=True, on_put=daemon.scheduler.wake
            )
            daemon.slots[stream] = daemon.scheduler.add(
                stream,
                SETTINGS,
                daemon.mailboxes[stream],
                on_exhausted=lambda limit: told.append((stream, limit.message)),
            )

        add("large")
        add("small")
        daemon.put("large", 0)
        daemon.scheduler.start()
        daemon.wait_for(1)
        daemon.put_broken("small", 0)
        daemon.put("small", 1)
        daemon.wait_for(2)
        assert told == [("large", "the system gives this process no more memory")]
        assert daemon.order() == [("large", 0), ("small", 1)]
        assert daemon.slots["small"].status().failed == 1
        assert not caplog.records

    def test_an_error_in_a_command_is_told_and_logged(
        self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(self: Session, object_id: int) -> None:
            raise RuntimeError("a bug with a secret")

        monkeypatch.setattr(Session, "remove", fail)
        daemon.add("cam")
        daemon.put("cam", 10)
        daemon.scheduler.start()
        daemon.wait_for(1)
        daemon.submit("cam", drawn(10)).result(DEADLINE_S)
        error = daemon.submit("cam", RemoveCommand(1)).exception(DEADLINE_S)
        assert isinstance(error, RequestError)
        assert error.code is ErrorCode.INTERNAL
        assert "secret" not in str(error)
        (record,) = caplog.records
        assert record.exc_info is not None
        assert daemon.submit("cam", ListCommand()).result(DEADLINE_S)


class TestRemovalAndEnd:
    def test_a_removed_stream_is_unknown(self, daemon: Daemon) -> None:
        daemon.add("cam", "other")
        waiting = daemon.submit("cam", ListCommand())
        daemon.scheduler.remove(daemon.slots["cam"])
        assert refusal(waiting) is ErrorCode.UNKNOWN_STREAM
        with pytest.raises(RequestError, match="stream cam was removed") as refused:
            daemon.submit("cam", ListCommand())
        assert refused.value.code is ErrorCode.UNKNOWN_STREAM

    def test_a_name_is_free_again_after_removal(self, daemon: Daemon) -> None:
        daemon.add("cam")
        daemon.scheduler.remove(daemon.slots["cam"])
        daemon.add("cam")
        daemon.put("cam", 3)
        daemon.scheduler.start()
        daemon.wait_for(1)
        assert daemon.slots["cam"].status().tracked == 1

    def test_nothing_is_sent_of_a_stream_after_its_removal(
        self, daemon: Daemon, held_step: tuple[threading.Event, threading.Event]
    ) -> None:
        begun, go_on = held_step
        daemon.add("cam", "other")
        daemon.put("cam", 1, 2)
        daemon.scheduler.start()
        assert begun.wait(DEADLINE_S)
        daemon.scheduler.remove(daemon.slots["cam"])  # does not wait for the frame in progress
        go_on.set()
        daemon.put("other", 5)
        daemon.wait_for(1)
        assert daemon.order() == [("other", 5)]

    def test_the_end_refuses_what_waits_and_what_comes(
        self, daemon: Daemon, held_step: tuple[threading.Event, threading.Event]
    ) -> None:
        begun, go_on = held_step
        daemon.add("cam")
        daemon.put("cam", 1, 2, 3)
        daemon.scheduler.start()
        assert begun.wait(DEADLINE_S)
        waiting = daemon.submit("cam", ListCommand())
        assert not daemon.scheduler.stop(0.01), "the frame in progress hangs"
        assert refusal(waiting) is ErrorCode.SHUTTING_DOWN
        with pytest.raises(RequestError) as refused:
            daemon.submit("cam", ListCommand())
        assert refused.value.code is ErrorCode.SHUTTING_DOWN
        go_on.set()
        assert daemon.scheduler.stop(DEADLINE_S)
        assert not daemon.scheduler.healthy
        assert daemon.order() == [("cam", 1)], "the frame in progress is the last"

    def test_a_pipeline_that_never_started_can_be_stopped(self, daemon: Daemon) -> None:
        daemon.add("cam")
        waiting = daemon.submit("cam", ListCommand())
        assert not daemon.scheduler.healthy
        assert daemon.scheduler.stop(DEADLINE_S)
        assert refusal(waiting) is ErrorCode.SHUTTING_DOWN
