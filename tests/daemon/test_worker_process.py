"""What the daemon says to a worker process, and what it makes of its end; the process is a fake."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tracker.daemon.config.schema import DaemonConfig, LimitsConfig, RetryConfig
from tracker.daemon.messages import (
    Event,
    ListCommand,
    RequestError,
    RestoreCommand,
    SaveCommand,
    SetZonesCommand,
)
from tracker.daemon.sources.pixel_budget import PixelBudget
from tracker.daemon.telemetry.status import TrackingStatus
from tracker.daemon.tracking.frame_numbers import FrameNumbers
from tracker.daemon.workers import messages as say
from tracker.daemon.workers import supervised
from tracker.daemon.workers.channel import ChannelError
from tracker.daemon.workers.model_info import ModelInfo
from tracker.daemon.workers.nursery import Nursery
from tracker.daemon.workers.process import ProcessWorker
from tracker.errors import TrackdError
from tracker.protocol.fields import RecordSettings, StreamSettings, ZoneSettings
from tracker.protocol.replies import ErrorCode, ObjectInfo, StreamState
from tracker.types import ObjectState

MODEL = ModelInfo(
    name="pico",
    fingerprint="00",
    device="cpu",
    dtype="float32",
    input_size=416,
    precision="fp32",
    optimizations=(),
    license=None,
)


PATIENCE_S = 60.0
CUP = ObjectInfo(id=1, label="cup", state=ObjectState.VISIBLE, score=0.9, box=(1, 2, 3, 4))


class FakeChild:
    """A process that says what it is given, then is there until it is ended."""

    pid = 1
    room = 1000

    def __init__(self, *says: list[bytes]) -> None:
        self.sent: list[list[bytes]] = []
        self._says = list(says)
        self._ended = threading.Event()

    def receive(self, timeout_s: float) -> list[bytes] | None:
        if self._says:
            return self._says.pop(0)
        if self._ended.wait(0.01):
            raise ChannelError("the other side is gone")
        return None

    def kill(self) -> None:
        self._ended.set()

    def end(self, timeout_s: float) -> str:
        self._ended.set()
        return "it ended with exit code 0"

    def processor_s(self) -> float:
        return 0.0

    def send(self, parts: list[bytes]) -> bool:
        if len(self.sent) >= self.room:
            return False
        self.sent.append(parts)
        return True

    def memory_bytes(self) -> int:
        return 1

    def said(self) -> list[say.ToWorker]:
        return [say.to_worker(parts) for parts in self.sent]


@pytest.fixture
def worker() -> ProcessWorker:
    worker = ProcessWorker(
        "0",
        DaemonConfig(limits=LimitsConfig(commands_queued=2)),
        epoch="0a",
        threads=1,
        on_tracked=lambda _: None,
        on_event=lambda event: told.append(event),
        pixels=PixelBudget(LimitsConfig()),
        nursery=Nursery(),
        snapshots_bytes=100,
    )
    told: list[Event] = []
    worker.told = told  # type: ignore[attr-defined]
    settings = StreamSettings(url="rtsp://name:secret@cam/1")
    worker.add("cam", settings, FrameNumbers("cam", 7), paused=False, trusted=False)
    return worker


def begin(worker: ProcessWorker) -> FakeChild:
    """A process that is ready, and was told of threads."""
    child: Any = FakeChild()
    worker._child = child
    worker._begin(MODEL)
    assert say.to_worker(child.sent.pop(0)) == say.SetThreads(threads=worker._threads)
    return child


def starting(monkeypatch: pytest.MonkeyPatch, *children: FakeChild) -> None:
    """The next processes; where there are no more there is none to be had."""
    left = list(children)

    def start(name: str, nursery: Nursery) -> FakeChild:
        if not left:
            raise OSError(11, "no process")
        return left.pop(0)

    monkeypatch.setattr(supervised, "Child", start)
    monkeypatch.setattr(supervised, "_RETRY", RetryConfig(first_s=0.01, longest_s=0.01))


def wait_until(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until_s, "never came true"
        time.sleep(0.005)


def refusal(future: "Future[Any]") -> ErrorCode:
    error = future.exception(PATIENCE_S)
    assert isinstance(error, RequestError)
    return error.code


def test_commands_wait_for_a_process_that_is_started(worker: ProcessWorker) -> None:
    listed, cancelled = (worker.submit("cam", ListCommand()) for _ in range(2))
    with pytest.raises(RequestError) as refused:
        worker.submit("cam", ListCommand())
    assert refused.value.code is ErrorCode.BUSY
    cancelled.cancel()
    add, submit = begin(worker).said()
    assert isinstance(add, say.AddStream) and isinstance(submit, say.Submit)
    assert (add.first_seq, add.paused, add.settings.url) == (7, False, "rtsp://name:secret@cam/1")
    worker._take_in(say.Done(id=submit.id), [b""])
    assert listed.result(0) is None
    assert "secret" not in worker.source("cam").url


def test_objects_are_back_before_the_first_frame(worker: ProcessWorker) -> None:
    begin(worker)
    objects = ((1, "cup"), (4, None))
    worker.submit("cam", RestoreCommand(Path("x"), False, objects, 9, b"snapshot"))
    worker._reach("cam", 100)
    worker._is_ready = False
    child = begin(worker)
    add, submit = child.said()
    assert isinstance(add, say.AddStream) and isinstance(submit, say.Submit)
    assert add.paused and add.first_seq == 100
    command = say.read_command(submit, child.sent[1])
    assert isinstance(command, RestoreCommand)
    assert (command.objects, command.next_object_id, command.data) == (objects, 9, b"snapshot")
    worker._take_in(say.Done(id=submit.id), [b""])
    assert child.said()[2:] == [say.ResumeStream(stream="cam")]


def test_a_snapshot_that_cannot_be_read_leaves_objects_lost(worker: ProcessWorker) -> None:
    worker._owned("cam").remember(RestoreCommand(Path("x"), False, ((3, "cup"),), 4, b"broken"))
    child = begin(worker)
    _, submit = child.said()
    assert isinstance(submit, say.Submit)
    error = say.ErrorBody(code=ErrorCode.SNAPSHOT, message="it is damaged")
    worker._take_in(say.Done(id=submit.id, error=error), [b""])
    again = child.said()[-1]
    assert isinstance(again, say.Submit)
    command = say.read_command(again, child.sent[-1])
    assert isinstance(command, RestoreCommand)
    assert command.lost and command.objects == ((3, "cup"),)


def test_whoever_waits_is_told_of_the_end(worker: ProcessWorker) -> None:
    begin(worker)
    waiting = worker.submit("cam", ListCommand())
    worker._is_ready = False
    worker._note_end("it was ended by SIGSEGV", 0.5)
    error = waiting.exception(0)
    assert isinstance(error, RequestError) and error.code is ErrorCode.TIMEOUT
    assert "may still be done" in error.hint
    source = worker.source("cam")
    assert source.state is StreamState.RETRYING and "SIGSEGV" in source.error
    (event,) = worker.told  # type: ignore[attr-defined]
    assert (event.name, event.stream) == ("stream.retrying", "cam")
    assert worker.status().restarts == 1


def test_frames_of_unknown_streams_are_not_passed_on(worker: ProcessWorker) -> None:
    assert worker._reach("cam", 8)
    assert not worker._reach("other", 8)
    worker.remove("cam").result(0)
    assert not worker._reach("cam", 9)


def test_what_was_never_sent_was_not_done(worker: ProcessWorker) -> None:
    waiting = worker.submit("cam", ListCommand())
    worker._note_end("no process", 0.5)
    assert refusal(waiting) is ErrorCode.BUSY


def test_so_many_commands_of_a_stream_wait_for_a_process_that_is_ready(
    worker: ProcessWorker,
) -> None:
    begin(worker)
    given_up, _ = (worker.submit("cam", ListCommand()) for _ in range(2))
    with pytest.raises(RequestError) as refused:
        worker.submit("cam", ListCommand())
    assert refused.value.code is ErrorCode.BUSY
    given_up.cancel()
    worker.submit("cam", ListCommand())


def test_commands_that_wait_keep_out_nothing_of_the_daemons_own(worker: ProcessWorker) -> None:
    worker._owned("cam").remember(RestoreCommand(Path("x"), False, ((1, "cup"),), 2, b"snapshot"))
    for _ in range(2):
        worker.submit("cam", ListCommand())
    child = begin(worker)
    worker._owned("cam").saved_s = -1e9
    worker._tick()
    commands = [
        type(say.read_command(message, parts))
        for message, parts in zip(child.said(), child.sent, strict=True)
        if isinstance(message, say.Submit)
    ]
    assert commands == [RestoreCommand, ListCommand, ListCommand, SaveCommand]


def test_commands_that_find_no_room_are_refused(worker: ProcessWorker) -> None:
    sent, refused = (worker.submit("cam", ListCommand()) for _ in range(2))
    child: Any = FakeChild()
    child.room = 3  # for the threads, the stream and one command
    worker._child = child
    worker._begin(MODEL)
    assert refusal(refused) is ErrorCode.BUSY
    assert not sent.done()
    worker._owned("cam").tracking = TrackingStatus(objects=(CUP,))
    worker._owned("cam").saved_s = -1e9
    worker._tick()


def test_zones_that_were_refused_are_not_those_of_the_next_process(worker: ProcessWorker) -> None:
    child = begin(worker)
    child.room = 0
    with pytest.raises(RequestError):
        worker.submit("cam", SetZonesCommand({"gate": ZoneSettings(line=((0, 0), (9, 9)))}))
    assert worker._owned("cam").settings.zones == {}


def test_a_recording_that_was_switched_stays_so_in_the_next_process(
    worker: ProcessWorker, tmp_path: Path
) -> None:
    settings = StreamSettings(url="rtsp://cam/2", record=RecordSettings(dir=tmp_path))
    worker.add("door", settings, FrameNumbers("door", 1), paused=False, trusted=False)
    worker.record("door", on=False)  # no process yet
    added = {one.stream: one for one in begin(worker).said() if isinstance(one, say.AddStream)}
    assert added["door"].settings.record.start == "request"


def test_a_snapshot_does_not_wait_for_a_process_that_is_started(worker: ProcessWorker) -> None:
    """It would keep those of all other streams waiting."""
    with pytest.raises(RequestError) as refused:
        worker.submit("cam", SaveCommand())
    assert refused.value.code is ErrorCode.BUSY
    begin(worker)
    assert not worker.submit("cam", SaveCommand()).done()


def test_nobody_waits_for_a_worker_that_ended(
    worker: ProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting(monkeypatch, FakeChild())
    waiting = worker.submit("cam", ListCommand())
    worker.start()
    worker.let_go()
    assert refusal(waiting) is ErrorCode.SHUTTING_DOWN
    with pytest.raises(RequestError) as refused:
        worker.submit("cam", ListCommand())
    assert refused.value.code is ErrorCode.SHUTTING_DOWN
    assert worker.stop(PATIENCE_S)


def test_a_process_that_is_ready_after_the_end_began_opens_nothing(worker: ProcessWorker) -> None:
    worker.let_go()
    child: Any = FakeChild()
    worker._child = child
    worker._begin(MODEL)
    assert child.sent == []
    assert not worker.status().ready


@pytest.mark.parametrize(
    "parts", [[b'{"type": "event"}'], [b'{"type": "report", "stream": "cam", "next_seq": 8}']]
)
def test_a_process_that_leaves_out_parts_is_started_again(
    worker: ProcessWorker, monkeypatch: pytest.MonkeyPatch, parts: list[bytes]
) -> None:
    ready = say.packed(say.Ready(model=MODEL))
    starting(monkeypatch, FakeChild(ready, parts), FakeChild(ready))
    worker.start()
    wait_until(lambda: worker.status().restarts == 1 and worker.status().ready == 1)
    assert worker.status().healthy
    assert "not understood" in worker.told[0].text  # type: ignore[attr-defined]
    assert worker.stop(PATIENCE_S)


def test_a_first_start_that_fails_is_told_and_tried_again(
    worker: ProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = say.packed(say.Failed(message="no weights", hint="download them"))
    starting(monkeypatch, FakeChild(failed), FakeChild(say.packed(say.Ready(model=MODEL))))
    worker.start()
    with pytest.raises(TrackdError, match="no weights; download them"):
        worker.model()
    wait_until(lambda: worker.status().ready == 1)
    (event,) = worker.told  # type: ignore[attr-defined]
    assert event.name == "stream.retrying" and "no weights" in event.text
    assert worker.stop(PATIENCE_S)


def test_without_a_process_to_be_had_the_start_fails(
    worker: ProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting(monkeypatch)
    worker.start()
    with pytest.raises(TrackdError, match="worker 0 cannot start: no process"):
        worker.model()
    assert worker.stop(PATIENCE_S)


@pytest.mark.parametrize(
    ("code", "stays"),
    [(ErrorCode.LIMIT, True), (ErrorCode.INTERNAL, True), (ErrorCode.UNKNOWN_STREAM, False)],
)
def test_a_stream_that_its_process_does_not_remove_stays(
    worker: ProcessWorker, code: ErrorCode, stays: bool
) -> None:
    child = begin(worker)
    removed = worker.remove("cam")
    remove = child.said()[-1]
    assert isinstance(remove, say.RemoveStream)
    error = say.ErrorBody(code=code, message="no")
    worker._take_in(say.Done(id=remove.id, error=error), [b""])
    if stays:
        assert refusal(removed) is code
    else:
        assert removed.result(PATIENCE_S) is None
    assert worker._reach("cam", 9) is stays


def test_a_stream_is_gone_with_the_process_that_was_to_remove_it(worker: ProcessWorker) -> None:
    begin(worker)
    removed = worker.remove("cam")
    worker._is_ready = False
    worker._note_end("it was ended by SIGSEGV", 0.5)
    assert removed.result(PATIENCE_S) is None
    assert not worker._reach("cam", 9)


def test_a_process_computes_with_the_threads_that_it_has_by_then(worker: ProcessWorker) -> None:
    worker.limit_threads(3)
    assert worker._threads == 3
    begin(worker)  # which looks for the message


def test_snapshots_beyond_the_room_are_not_kept_and_told_once(
    worker: ProcessWorker, caplog: pytest.LogCaptureFixture
) -> None:
    settings = StreamSettings(url="rtsp://cam/2")
    worker.add("other", settings, FrameNumbers("other", 0), paused=False, trusted=False)
    begin(worker)

    def save(stream: str, size: int) -> None:
        worker._owned(stream).tracking = TrackingStatus(objects=(CUP,))
        future: Future[Any] = Future()
        future.set_result(b"s" * size)
        worker._keep(worker._owned(stream), future)

    with caplog.at_level(logging.WARNING, "trackd.worker"):
        save("cam", 70)
        save("other", 30)
        assert not caplog.records
        save("other", 31)
        save("other", 31)
    assert worker._owned("other").snapshot is None
    assert worker._owned("cam").snapshot == b"s" * 70
    (record,) = caplog.records
    assert "stream other: no room for its snapshot" in record.getMessage()
