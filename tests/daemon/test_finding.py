"""Finders of live streams: whatever they do, tracking neither waits for them nor ends."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support import odd_finders
from tests.support.installed import install
from tests.support.live_scene import NS_STEP, live
from tests.support.tracked_frames import disc, found, wait_until
from tracker.daemon.config.schema import ModelConfig
from tracker.daemon.finding.main import FinderServer
from tracker.daemon.finding.messages import Found, FoundItem, Search
from tracker.daemon.finding.process import FinderLostError, FinderProcess
from tracker.daemon.finding.service import MAX_WAITING, MAX_WAITING_OF_ONE, Finding
from tracker.daemon.messages import (
    Command,
    Event,
    FindCommand,
    PromptCommand,
    RequestError,
    Tracked,
)
from tracker.finders.registry import FINDERS
from tracker.protocol.data import EventName
from tracker.protocol.fields import FindSettings, FrameAddress, RleMask, StreamSettings
from tracker.protocol.replies import ErrorCode
from tracker.types import ObjectResult, StageTimes, TrackResult

FIRST = 10  # frame of the scene; the square is red, 40 pixels wide, at (50 + seq, 40)


def seen(seq: int, *objects: ObjectResult) -> Tracked:
    """A tracked frame of the scene with a red square."""
    settings = StreamSettings(url="lavfi:testsrc2")
    result = TrackResult(seq, objects, StageTimes(0.02, 0.01))
    return Tracked(live(seq), result, settings, 0, 1.0, 1.1)


class FakeProcess:
    """Answers when it may, and keeps what it was shown."""

    def __init__(self, answer: Callable[[], list[FoundItem]] = list) -> None:
        self.may = threading.Semaphore(0)
        self.shown: list[int] = []
        self.answer = answer
        self.killed = False

    def search(self, finder: Any, image_hwc: Any, *, owner: str, wanted: bool) -> Found:
        self.shown.append(int((image_hwc[60, :, 0] > 180).argmax()) - 50)  # the square is so far
        self.may.acquire()
        return Found(id=1, items=tuple(self.answer()), left_out=0)

    def forget(self, owner: str) -> None: ...

    def kill(self, *, stacks: bool = False) -> None:
        self.killed = True
        self.may.release(100)

    def close(self) -> None: ...


class Watched:
    """A stream whose finder is looked after, and all that came of it."""

    def __init__(self, **options: Any) -> None:
        self.finding = Finding(ModelConfig(), **options)
        self.commands: list[Command] = []
        self.events: list[Event] = []

    def add(self, finder: str | None = None, **settings: Any) -> "Watched":
        find = None if finder is None else FindSettings(finder=finder, **settings)
        self.finding.add("cam", find, trusted=True, submit=self.submit, on_event=self.events.append)
        return self

    def submit(self, command: Command) -> "Future[Any]":
        self.commands.append(command)
        done: Future[Any] = Future()
        done.set_result(None)
        return done

    def told(self, name: EventName) -> list[str]:
        return [event.text for event in self.events if event.name is name]

    @property
    def status(self) -> Any:
        return self.finding.status("cam")

    def find(self, **given: Any) -> "Future[Any]":
        plain: dict[str, Any] = {"finder": None, "text": None, "frame": None}
        plain |= {"min_score": 0.0, "max_proposals": 16, "wait_s": 0.0}
        return self.finding.find("cam", FindCommand(**(plain | given)))

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.finding.stop(20)


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Finders of a package that is installed, here and in processes."""
    folder = tmp_path / "package"
    install(folder, monkeypatch, Path(odd_finders.__file__), "trackd.finders", *odd_finders.ENTRIES)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield


def item(x: float, score: float = 0.8, label: str | None = None) -> FoundItem:
    return FoundItem(box=(x, 40, x + 40, 80), score=score, label=label, area=1600, mask=None)


# --- turns


def test_of_the_frames_that_wait_the_newest_is_looked_at() -> None:
    process = FakeProcess()
    with Watched(start=lambda _: process).add("motion") as stream:
        stream.finding.tracked(seen(FIRST))
        wait_until(lambda: process.shown == [FIRST])
        for seq in range(FIRST + 1, FIRST + 6):
            stream.finding.tracked(seen(seq))
        assert stream.status.skipped == 4
        process.may.release()
        wait_until(lambda: process.shown == [FIRST, FIRST + 5])
        process.may.release()
        wait_until(lambda: stream.status.searches == 2)


def test_frames_between_searches_are_not_looked_at() -> None:
    process = FakeProcess()
    process.may.release(100)
    with Watched(start=lambda _: process).add("everything", every_frames=5) as stream:
        for seq in range(FIRST, FIRST + 12):
            stream.finding.tracked(seen(seq))
            due = sum(shown % 5 == 0 for shown in range(FIRST, seq + 1))
            wait_until(lambda due=due: stream.status.searches == due)
    assert process.shown == [10, 15, 20]


def test_streams_have_turns() -> None:
    process = FakeProcess()
    with Watched(start=lambda _: process) as both:
        for name in ("a", "b"):
            find = FindSettings(finder="motion")
            both.finding.add(
                name, find, trusted=True, submit=both.submit, on_event=both.events.append
            )
        for seq in range(3):
            for name, shift in (("a", 0), ("b", 20)):
                frame = live(seq + shift, stream=name)
                result = TrackResult(seq, (), StageTimes(0.02, 0.01))
                one = Tracked(frame, result, StreamSettings(url="x"), 0, 1.0, 1.1)
                both.finding.tracked(one)
            wait_until(lambda seq=seq: len(process.shown) == 2 * seq + 1)
            process.may.release()
            wait_until(lambda seq=seq: len(process.shown) == 2 * seq + 2)
            process.may.release()
            wait_until(lambda seq=seq: both.finding.status("b").searches == seq + 1)
    assert [shown >= 20 for shown in process.shown] == [False, True] * 3


# --- proposals


def test_a_proposal_becomes_a_prompt_on_the_frame_that_was_looked_at() -> None:
    process = FakeProcess(lambda: [item(60, 0.9, "square"), item(61, 0.8), item(5, 0.2)])
    process.may.release(100)
    with Watched(start=lambda _: process).add("motion", min_score=0.5) as stream:
        stream.finding.tracked(seen(FIRST))
        wait_until(lambda: stream.commands)
        (command,) = stream.commands
        assert isinstance(command, PromptCommand)
        assert (command.object_id, command.box, command.label) == (
            None,
            (60, 40, 100, 80),
            "square",
        )
        assert command.frame == FrameAddress(seq=FIRST, epoch="ab")
        wait_until(lambda: stream.told(EventName.FIND_REFUSED))
        assert stream.status.refused == {"tracked already": 1, "low score": 1}
        assert stream.status.proposals == 3
        assert stream.told(EventName.FIND_PROPOSED) == ["1 proposed"]
        assert stream.told(EventName.FIND_REFUSED) == ["refused: 1 low score"]


def test_what_is_tracked_on_that_frame_is_proposed_in_vain() -> None:
    process = FakeProcess(lambda: [item(60)])
    process.may.release(100)
    mask_hw = disc(80, 60, 20, 120, 160)
    with Watched(start=lambda _: process).add("motion") as stream:
        stream.finding.tracked(seen(FIRST, found(7, mask_hw)))
        wait_until(lambda: stream.status.refused)
        assert stream.status.refused == {"tracked already": 1}
        assert not stream.commands
        assert not stream.events


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RequestError(ErrorCode.FRAME_GONE, "it is gone"), "frame gone"),
        (RequestError(ErrorCode.BUSY, "too much"), "not taken"),
    ],
)
def test_what_the_tracker_refuses_is_counted(error: RequestError, reason: str) -> None:
    process = FakeProcess(lambda: [item(60)])
    process.may.release(100)
    with Watched(start=lambda _: process) as stream:

        def submit(command: Command) -> "Future[Any]":
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

        stream.submit = submit  # type: ignore[method-assign]
        stream.add("motion")
        stream.finding.tracked(seen(FIRST))
        wait_until(lambda: stream.status.refused == {reason: 1})


@pytest.mark.parametrize("error", [OSError(28, "no space left"), ValueError("not known")])
def test_a_picture_that_cannot_be_shown_is_a_failure(error: Exception) -> None:
    class Broken(FakeProcess):
        def search(self, *args: Any, **more: Any) -> Found:
            raise error

    clock = Clock()
    with Watched(start=lambda _: Broken(), clock=clock).add("motion") as stream:
        stream.finding.tracked(seen(FIRST))
        wait_until(lambda: stream.status.failures == 1)
        assert stream.status.searches == 1
        assert len(stream.told(EventName.FIND_FAILED)) == 1
        clock.now_s += 10
        with pytest.raises(RequestError) as refused:
            stream.find().result(20)
        assert refused.value.code is ErrorCode.FINDER


def test_proposals_that_cannot_be_read_are_a_failure() -> None:
    wrong = RleMask(size=(120, 160), counts="0")
    process = FakeProcess(lambda: [item(60).model_copy(update={"mask": wrong})])
    process.may.release(100)
    with Watched(start=lambda _: process, clock=Clock()).add("motion") as stream:
        stream.finding.tracked(seen(FIRST))
        wait_until(lambda: stream.status.failures == 1)
        assert stream.status.searches == 1
        assert len(stream.told(EventName.FIND_FAILED)) == 1


def test_streams_that_go_leave_nothing_behind() -> None:
    with Watched(start=lambda _: FakeProcess()) as stream:
        for _ in range(3):
            stream.add("motion")
            stream.finding.remove("cam")
        assert not stream.finding._forgotten


# --- finders that fail, in a real process


@pytest.mark.slow
def test_one_that_raises_rests_and_is_asked_again(
    odd: None, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    with Watched(clock=clock).add("raises", every_frames=1) as stream:
        stream.finding.tracked(seen(1))
        wait_until(lambda: stream.status.failures == 1)
        (told,) = stream.told(EventName.FIND_FAILED)
        assert told.startswith("finder raises failed: ZeroDivisionError; the daemon's log")
        assert "ZeroDivisionError" in stream.status.error
        assert "of its own making" not in told + stream.status.error
        assert "of its own making" in capfd.readouterr().err
        stream.finding.tracked(seen(2))
        stream.finding.tracked(seen(3))
        clock.now_s += 10
        stream.finding.tracked(seen(4))
        wait_until(lambda: stream.status.failures == 2)
        assert stream.finding.restarts == 0


@pytest.mark.slow
def test_where_files_lie_is_told_to_the_log_alone(
    odd: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with Watched(clock=Clock()).add("broken", every_frames=1) as stream:
        stream.finding.tracked(seen(1))
        wait_until(lambda: stream.status.failures == 1)
        (told,) = stream.told(EventName.FIND_FAILED)
        with pytest.raises(RequestError) as asked:
            stream.find().result(20)
    for text in (told, stream.status.error, str(asked.value)):
        assert "finder broken failed: ModelError; the daemon's log tells more" in text
    logged = capfd.readouterr().err
    assert "/models/ours.onnx" in logged and "Traceback" not in logged


@pytest.mark.slow
def test_ten_thousand_proposals_are_cut_and_nonsense_is_counted(odd: None) -> None:
    with Watched().add("floods", every_frames=1, max_objects=3) as stream:
        stream.finding.tracked(seen(1))
        wait_until(lambda: stream.status.searches == 1)
        assert stream.status.proposals == 64
        assert stream.status.left_out == 10_000 - 64
        assert len(stream.commands) == 3
        assert stream.status.refused["too many objects"] > 0


def test_a_search_leaves_room_for_prompts_of_people() -> None:
    process = FakeProcess(lambda: [item(20.0 * i, 0.9 - i / 100) for i in range(40)])
    process.may.release()
    watched = Watched(start=lambda _: process)
    with watched.add("everything", every_frames=1, max_objects=1000, max_overlap=1.0) as stream:
        stream.finding.tracked(seen(1))
        wait_until(lambda: stream.status.searches == 1)
        assert [command.found.score for command in stream.commands] == [
            0.9 - i / 100 for i in range(16)
        ]
        assert stream.status.refused["not taken"] == 24


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "told"),
    [("hangs", "gave no answer in 0.2 s"), ("dies", "it ended with code 3")],
)
def test_the_process_is_started_again_and_other_streams_go_on(
    odd: None, name: str, told: str
) -> None:
    started: list[FinderProcess] = []

    def start(model: ModelConfig) -> FinderProcess:
        started.append(FinderProcess(model))
        return started[-1]

    clock = Clock()
    with Watched(start=start, clock=clock).add(name, every_frames=1, timeout_s=0.2) as stream:
        stream.finding.tracked(seen(1))
        wait_until(lambda: stream.status.failures == 1)
        assert told in stream.status.error
        assert stream.finding.restarts == 1
        with pytest.raises(RequestError, match="started again in") as refused:
            stream.find(finder="red").result(20)
        assert refused.value.code is ErrorCode.FINDER
        clock.now_s += 1.0
        answer = stream.find(finder="red").result(20)
        assert [one.box for one in answer.proposals] == [(51, 40, 91, 80)]
        first, second = started
        assert first.pid != second.pid
        assert first._child.returncode is not None


def test_a_process_that_is_ended_from_outside_fails_one_search(odd: None) -> None:
    process = FinderProcess(ModelConfig())
    try:
        process.kill()
        with pytest.raises(FinderLostError, match="the process of finder red: it ended"):
            from tracker.daemon.finding.choice import asked_finder

            process.search(
                asked_finder("red", None, None), seen(1).live.frame.image, owner="", wanted=True
            )
    finally:
        process.close()


@pytest.mark.slow
def test_nobody_waits_for_a_finder_that_hangs_not_even_at_the_end(odd: None) -> None:
    with Watched().add("hangs", every_frames=1, timeout_s=3600) as stream:
        one = seen(1)
        for _ in range(500):
            stream.finding.tracked(one)
        wait_until(lambda: stream.finding._process is not None)
        assert (stream.status.searches, stream.status.error) == (0, "")


# --- requests


@pytest.mark.slow
def test_a_finder_is_asked_about_the_newest_frame_or_another(odd: None) -> None:
    with Watched().add("red", every_s=3600) as stream:
        for seq in (1, 2, 3):
            stream.finding.tracked(seen(seq))
        newest = stream.find(text="square").result(20)
        assert (newest.finder, newest.frame_seq, newest.left_out) == ("red", 3, 0)
        (one,) = newest.proposals
        assert (one.box, one.score, one.label, one.area) == ((53, 40, 93, 80), 0.75, "square", 1600)
        older = stream.find(frame=FrameAddress(seq=2)).result(20)
        assert older.proposals[0].box == (52, 40, 92, 80)
        assert stream.find(min_score=0.8).result(20).proposals == []
        with pytest.raises(RequestError, match=r"those of seq 1\.\.3 are") as refused:
            stream.find(frame=FrameAddress(seq=7)).result(20)
        assert refused.value.code is ErrorCode.FRAME_GONE


@pytest.mark.slow
def test_a_time_names_the_nearest_frame(odd: None) -> None:
    """Programs that read `captured_ns` as a double give it rounded."""
    with Watched().add("red", every_s=3600) as stream:
        for seq in (1, 2, 3):
            stream.finding.tracked(seen(seq))
        rounded = FrameAddress(captured_ns=2 * NS_STEP + 128)
        assert stream.find(frame=rounded).result(20).frame_seq == 2
        with pytest.raises(RequestError) as refused:
            stream.find(frame=FrameAddress(captured_ns=9 * NS_STEP)).result(20)
        assert refused.value.code is ErrorCode.FRAME_GONE
        with pytest.raises(RequestError) as refused:
            stream.find(frame=FrameAddress(captured_ns=2 * NS_STEP, epoch="cd")).result(20)
        assert refused.value.code is ErrorCode.FRAME_GONE


@pytest.mark.slow
def test_a_text_becomes_a_prompt_where_it_was_found(odd: None) -> None:
    with Watched().add() as stream:
        stream.finding.tracked(seen(4))
        prompt = PromptCommand(None, text="square", finder="red", draft=True)
        stream.finding.prompt("cam", prompt).result(20)
        (command,) = stream.commands
        wanted = PromptCommand(
            None,
            box=(54, 40, 94, 80),
            label="square",
            frame=FrameAddress(seq=4, epoch="ab"),
            draft=True,
        )
        assert command == wanted
        stream.finding.tracked(seen(-60))  # the square is out of the picture
        with pytest.raises(RequestError, match="nothing was found for 'square'") as refused:
            stream.finding.prompt("cam", prompt).result(20)
        assert refused.value.code is ErrorCode.BAD_PROMPT


@pytest.mark.slow
def test_a_request_may_wait_for_the_first_frame(odd: None) -> None:
    with Watched().add() as stream:
        with pytest.raises(RequestError) as refused:
            stream.find(finder="red").result(20)
        assert refused.value.code is ErrorCode.NO_FRAME
        waits = stream.find(finder="red", wait_s=60.0)
        stream.finding.tracked(seen(1))
        assert waits.result(20).frame_seq == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "no finder: the stream has none"),
        ({"text": "cat"}, "no finder: the stream has none"),
        ({"finder": "nope"}, "no finder is called nope"),
        ({"finder": "everything", "text": "cat"}, "everything takes no words"),
        ({"finder": "text"}, "finder text needs words"),
        ({"finder": "text", "text": " . "}, "no phrase in"),
        ({"finder": "motion"}, "learns from each frame"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once(given: dict[str, Any], told: str) -> None:
    with Watched().add() as stream:
        with pytest.raises(RequestError, match=told) as refused:
            stream.find(**given)
        assert refused.value.code is ErrorCode.BAD_REQUEST


def test_requests_that_wait_are_bounded_and_end_with_their_stream() -> None:
    with Watched(start=lambda _: FakeProcess()).add() as stream:
        waiting = [
            stream.find(finder="everything", wait_s=300.0) for _ in range(MAX_WAITING_OF_ONE)
        ]
        assert MAX_WAITING_OF_ONE < MAX_WAITING
        with pytest.raises(RequestError) as refused:
            stream.find(finder="everything", wait_s=300.0)
        assert refused.value.code is ErrorCode.BUSY
        stream.finding.remove("cam")
        for one in waiting:
            with pytest.raises(RequestError) as refused:
                one.result(20)
            assert refused.value.code is ErrorCode.UNKNOWN_STREAM


def test_who_gave_up_has_no_place_and_gets_no_object(odd: None) -> None:
    """As a client's time limit does: it may ask again, and would get a second object."""
    process = FakeProcess(lambda: [item(54)])
    with Watched(start=lambda _: process).add() as stream:
        stream.finding.tracked(seen(4))
        prompt = PromptCommand(None, text="square", finder="red")
        given_up = stream.finding.prompt("cam", prompt)
        wait_until(lambda: process.shown == [4])
        for _ in range(3):
            waiting = [stream.find(finder="everything") for _ in range(MAX_WAITING_OF_ONE)]
            assert all(one.cancel() for one in waiting)
        assert given_up.cancel()
        last = stream.find(finder="everything")
        process.may.release(2)
        assert last.result(20).frame_seq == 4
        assert (process.shown, stream.commands) == ([4, 4], [])


def test_a_finder_by_words_loads_no_second_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take the memory of one, also on a GPU."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("tracker.models.load.load_model", load)
    asked: list[Any] = []
    for name in ("text", "detector"):
        spec = replace(FINDERS.find(name), make=lambda model, settings: asked.append(model.device))
        monkeypatch.setattr(FINDERS, "find", lambda _, spec=spec: spec)
        search = Search(
            id=1,
            owner="",
            finder=name,
            options={},
            phrases=("cat",),
            height=4,
            width=4,
            wanted=True,
        )
        FinderServer(cast(Any, None), cast(Any, None), ModelConfig(device="cpu"))._made(search)
    assert [str(device) for device in asked] == ["cpu", "cpu"]


class Clock:
    """Monotonic time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s
