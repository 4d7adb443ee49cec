"""What each request does: to the streams, to the scheduler, and what its reply says."""

import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from streams.decode.threads import ffmpeg_threads
from tests.support.operations import (
    CUP,
    SECRET_URL,
    Daemon,
    FakeSnapshots,
    code,
)
from tracker.daemon.config.schema import ControlConfig
from tracker.daemon.control.operations import then
from tracker.daemon.messages import (
    Command,
    Event,
    ListCommand,
    PromptCommand,
    RelabelCommand,
    RemoveCommand,
    RequestError,
    ResetCommand,
)
from tracker.daemon.sources.spare_threads import can_start
from tracker.daemon.tracking.frame_numbers import RESERVED
from tracker.daemon.workers import local
from tracker.protocol.data import EventName
from tracker.protocol.fields import FrameAddress, StreamSettings
from tracker.protocol.replies import ErrorCode, ObjectsResult
from tracker.protocol.requests import OPERATIONS

# --- streams


def test_a_stream_is_opened_and_tracked_and_told_of() -> None:
    daemon = Daemon()
    assert daemon.add(encoding="polygon", loop=True) == {}
    supervisor = daemon.supervisors["cam1"]
    assert supervisor.calls == ["start"]
    assert supervisor.settings == StreamSettings(url=SECRET_URL, encoding="polygon", loop=True)
    assert supervisor.on_frame == daemon.scheduler.wake
    assert daemon.scheduler.mailboxes_of == {"cam1": supervisor.mailbox}
    assert daemon.publisher.told == ["stream.added cam1", "stream.connecting cam1"]
    assert daemon.publisher.texts[0] == "rtsp://***@10.0.0.9/live"
    assert daemon.changes == 1


def test_the_list_says_how_streams_are_and_no_credentials() -> None:
    daemon = Daemon()
    daemon.add()
    assert daemon.ask("stream.list") == {
        "streams": [
            {
                "stream": "cam1",
                "url": "rtsp://***@10.0.0.9/live",
                "state": "running",
                "error": "",
                "policy": "latest",
                "encoding": "rle",
                "width": 640,
                "height": 360,
                "fps": 25.0,
                "frames": 100,
                "tracked": 90,
                "dropped": 7,
                "reconnects": 2,
                "objects": 1,
                "newest_seq": 99,
                "budget": None,
                "worker": "0",
                "finding": None,
                "recording": None,
                "owner_epoch": 0,
            }
        ]
    }


def test_streams_that_cannot_be_added_are_refused() -> None:
    daemon = Daemon(most_streams=2)
    assert code(lambda: daemon.add(url="gopher://admin:hunter2@h/")) is ErrorCode.BAD_SOURCE
    assert code(lambda: daemon.add(url="lavfi:")) is ErrorCode.BAD_SOURCE
    in_time: dict[str, Any] = {"url": "clip.mp4", "deadline": {"fps": 15}}
    assert code(lambda: daemon.add(**in_time)) is ErrorCode.BAD_REQUEST
    daemon.add("one", **in_time, realtime=True)
    assert code(lambda: daemon.add("one")) is ErrorCode.STREAM_EXISTS
    daemon.add("two")
    assert code(lambda: daemon.add("three")) is ErrorCode.LIMIT
    assert list(daemon.scheduler.mailboxes_of) == list(daemon.supervisors) == ["one", "two"]


def test_no_stream_takes_the_last_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon()
    asked: list[int] = []
    monkeypatch.setattr(local, "can_start", lambda count: bool(asked.append(count)))
    assert code(daemon.add) is ErrorCode.LIMIT
    assert not daemon.supervisors and not daemon.publisher.told and not daemon.streams.sources()
    assert asked[0] > 2 + 2 * ffmpeg_threads()


def test_threads_that_were_tried_are_gone_and_a_refusal_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spare() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "spare"]

    def start(thread: threading.Thread) -> None:
        if len(spare()) == 5:
            raise RuntimeError("can't start new thread")
        started(thread)

    started = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    assert [can_start(count) for count in (5, 6, 5)] == [True, False, True]
    assert not spare()


@pytest.mark.slow
@pytest.mark.parametrize("op", ["stream.remove", "stream.pause", "stream.resume", "object.list"])
def test_what_is_asked_of_a_stream_that_is_not_there_is_refused(op: str) -> None:
    daemon = Daemon()
    assert code(lambda: daemon.ask(op, stream="cam9")) is ErrorCode.UNKNOWN_STREAM
    daemon.add()
    with pytest.raises(RequestError, match="there is no stream cam9; there are cam1"):
        daemon.ask(op, stream="cam9")


def test_a_stream_is_paused_and_resumed() -> None:
    daemon = Daemon()
    daemon.add()
    assert daemon.ask("stream.pause", stream="cam1") == {}
    assert daemon.streams.kept()["cam1"].paused
    assert daemon.ask("stream.resume", stream="cam1") == {}
    assert not daemon.streams.kept()["cam1"].paused
    assert daemon.supervisors["cam1"].calls == ["start", "pause", "resume"]
    assert daemon.changes == 3


def test_a_stream_that_its_worker_does_not_remove_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker process that has no thread for it."""
    daemon = Daemon()
    daemon.add()
    refused: Future[None] = Future()
    refused.set_exception(RequestError(ErrorCode.LIMIT, "no more threads"))
    with monkeypatch.context() as patch:
        patch.setattr(daemon.worker, "remove", lambda stream: refused)
        assert code(lambda: daemon.ask("stream.remove", stream="cam1")) is ErrorCode.LIMIT
    assert "stream.removed cam1" not in daemon.publisher.told
    assert list(daemon.streams.kept()) == ["cam1"]
    assert daemon.ask("stream.remove", stream="cam1") == {}


def test_a_removed_stream_leaves_nothing_behind() -> None:
    daemon = Daemon()
    daemon.add()
    assert daemon.ask("stream.remove", stream="cam1") == {}
    assert daemon.supervisors["cam1"].calls == ["start", "stop"]
    assert daemon.publisher.told[-2:] == ["stream.removed cam1", "forget cam1"]
    assert not daemon.scheduler.mailboxes_of
    assert not daemon.streams.kept()
    assert not daemon.streams.sources()
    assert daemon.changes == 2
    daemon.add()
    assert list(daemon.scheduler.mailboxes_of) == ["cam1"]


def test_a_source_that_is_slow_to_close_delays_nobody_and_counts_until_it_is_closed() -> None:
    daemon = Daemon(most_streams=1)
    daemon.add("hanging")
    daemon.supervisors["hanging"].may_stop.clear()
    removal = daemon.begin("stream.remove", stream="hanging")
    assert isinstance(removal, Future)
    assert code(lambda: daemon.add("hanging")) is ErrorCode.STREAM_EXISTS
    assert code(lambda: daemon.add("other")) is ErrorCode.LIMIT
    assert code(lambda: daemon.ask("stream.pause", stream="hanging")) is ErrorCode.UNKNOWN_STREAM
    assert code(lambda: daemon.ask("stream.remove", stream="hanging")) is ErrorCode.UNKNOWN_STREAM
    assert daemon.streams.kept() == {}, "what is being removed does not come back"
    daemon.supervisors["hanging"].may_stop.set()
    assert removal.result(20) == {}
    assert daemon.worker.status().abandoned_threads == 1
    daemon.add("other")
    daemon.supervisors["hanging"].came_back = True
    assert daemon.worker.status().abandoned_threads == 0


def test_a_name_that_comes_back_goes_on_with_its_numbers() -> None:
    daemon = Daemon()
    daemon.add("cam1")
    assert daemon.supervisors["cam1"].give_numbers(70)[-1] == 69
    daemon.ask("stream.remove", stream="cam1")
    daemon.add("cam1")
    assert daemon.supervisors["cam1"].give_numbers(1) == [70]
    daemon.add("cam2")
    assert daemon.supervisors["cam2"].give_numbers(1) == [70], "a name that was never here, too"


def test_the_epoch_is_told() -> None:
    daemon = Daemon()
    assert daemon.ask("describe")["epoch"] == daemon.streams.epoch
    assert Daemon().ask("describe")["epoch"] != daemon.streams.epoch


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        (EventName.STREAM_RETRYING, "connection refused", "connection refused"),
        (EventName.STREAM_FAILED, "no such file", "no such file"),
        (EventName.STREAM_PAUSED, "", "it is paused; resume it"),
        (EventName.STREAM_RUNNING, "640x360", ""),
        (EventName.STREAM_CONNECTING, "opening it", ""),
    ],
)
def test_why_a_source_gives_no_frames_is_told_to_the_pipeline(
    name: EventName, text: str, why: str
) -> None:
    daemon = Daemon()
    daemon.add()
    daemon.supervisors["cam1"].on_event(Event("cam1", name, 0, text=text))
    assert daemon.scheduler.silent == {"cam1": why}
    assert daemon.publisher.told[-1] == f"{name} cam1"


def test_no_prompt_waits_longer_than_a_request_may_take() -> None:
    daemon = Daemon()
    daemon.add()
    for wait_s in (0, 5, 300):
        daemon.begin("prompt", stream="cam1", points=[[1, 2]], wait_s=wait_s)
    waits = [command.wait_s for _, command in daemon.scheduler.submitted]  # type: ignore[union-attr]
    assert waits[:2] == [0, 5]
    assert waits[2] < ControlConfig().timeout_s


def test_streams_come_back_as_they_were_kept() -> None:
    daemon = Daemon()
    settings = StreamSettings(url=SECRET_URL)
    daemon.streams.add("cam1", settings, paused=True, first_seq=1000)
    assert daemon.supervisors["cam1"].calls == ["pause"]
    assert daemon.supervisors["cam1"].give_numbers(100)[0] == 1000
    kept = daemon.streams.kept()["cam1"]
    assert (kept.settings, kept.paused, kept.next_seq) == (settings, True, 1100 + RESERVED)
    assert "hunter2" not in repr(kept)
    assert daemon.streams.close_all(20)
    assert daemon.streams.kept()["cam1"].next_seq == 1100, "no more numbers are given out"


def test_all_sources_are_closed_at_the_same_time_at_the_end() -> None:
    daemon = Daemon(most_streams=3)
    both = threading.Barrier(2, timeout=20)  # each waits for the other to be stopped
    for name in ("one", "two"):
        daemon.add(name)
        daemon.supervisors[name].may_stop = SimpleNamespace(wait=lambda _: both.wait() >= 0)  # type: ignore[assignment]
    assert daemon.streams.close_all(20)
    assert set(daemon.streams.kept()) == {"one", "two"}, "they are opened again after a restart"
    assert code(lambda: daemon.add("three")) is ErrorCode.SHUTTING_DOWN


def test_a_source_that_hangs_at_the_end_is_told() -> None:
    daemon = Daemon()
    daemon.add("hanging")
    assert not daemon.streams.close_all(1)


# --- objects


@pytest.mark.parametrize(
    ("op", "fields", "command"),
    [
        (
            "prompt",
            {"points": [[1, 2], [3, 4]], "label": "cup"},
            PromptCommand(None, ((1.0, 2.0), (3.0, 4.0)), (1, 1), label="cup"),
        ),
        (
            "prompt",
            {"object": 3, "points": [[0.5, 0.5]], "labels": [0], "normalized": True},
            PromptCommand(3, ((0.5, 0.5),), (0,), normalized=True),
        ),
        (
            "object.correct",
            {"object": 3, "box": [1, 2, 3, 4], "frame": {"seq": 17}},
            PromptCommand(3, box=(1.0, 2.0, 3.0, 4.0), frame=FrameAddress(seq=17), must_exist=True),
        ),
        ("object.remove", {"object": 3}, RemoveCommand(3)),
        ("object.reset", {"object": 3}, ResetCommand(3)),
        ("object.relabel", {"object": 3, "label": None}, RelabelCommand(3, None)),
        ("object.list", {}, ListCommand()),
    ],
)
def test_what_is_asked_of_objects_becomes_a_command(
    op: str, fields: dict[str, Any], command: Command
) -> None:
    daemon = Daemon()
    daemon.add()
    daemon.begin(op, stream="cam1", **fields)
    assert daemon.scheduler.submitted == [("cam1", command)]


def test_the_reply_is_what_came_of_the_command() -> None:
    daemon = Daemon()
    daemon.add()
    daemon.scheduler.answer = ObjectsResult(stream="cam1", objects=[CUP])
    told = {"id": 1, "label": "cup", "state": "visible", "score": 0.9, "box": [1, 2, 3, 4]}
    told |= {"updated": True, "identity": None, "found": False}
    assert daemon.ask("object.list", stream="cam1") == {"stream": "cam1", "objects": [told]}
    daemon.scheduler.answer = CUP
    assert daemon.ask("object.relabel", stream="cam1", object=1, label="cup") == told


def test_a_mask_reaches_the_pipeline_as_it_came() -> None:
    daemon = Daemon()
    daemon.add()
    daemon.begin("prompt", stream="cam1", mask={"size": [4, 4], "counts": "04L0"})
    (_, command) = daemon.scheduler.submitted[0]
    assert isinstance(command, PromptCommand) and command.mask is not None
    assert (command.mask.size, command.mask.counts) == ((4, 4), "04L0")


def test_a_command_that_is_given_up_is_taken_back() -> None:
    daemon = Daemon()
    daemon.add()
    result = daemon.begin("object.list", stream="cam1")
    assert isinstance(result, Future)
    assert result.cancel()
    assert daemon.scheduler.futures[0].cancelled()


def test_a_command_that_fails_fails_its_reply() -> None:
    source: Future[int] = Future()
    made = then(source, lambda _: {})
    source.set_exception(RequestError(ErrorCode.UNKNOWN_OBJECT, "no object 3"))
    assert code(made.result) is ErrorCode.UNKNOWN_OBJECT

    source = Future()
    made = then(source, lambda _: {})
    source.cancel()
    assert code(made.result) is ErrorCode.SHUTTING_DOWN

    source = Future()
    made = then(source, lambda value: {"half": 1 / value})
    source.set_result(0)
    with pytest.raises(ZeroDivisionError):
        made.result()


@pytest.mark.slow
def test_snapshots_are_saved_and_restored_where_there_is_a_folder() -> None:
    snapshots = FakeSnapshots()
    daemon = Daemon(snapshots)
    assert daemon.ask("snapshot.save", stream="cam1") == {}
    assert daemon.ask("snapshot.restore", stream="cam1") == {}
    assert snapshots.calls == ["save cam1", "restore cam1"]
    assert code(lambda: Daemon().ask("snapshot.save", stream="cam1")) is ErrorCode.SNAPSHOT


# --- the daemon itself


def test_ping_describe_metrics_and_shutdown() -> None:
    daemon = Daemon()
    pong = daemon.ask("ping")
    assert (pong["version"], pong["ready"]) == ("1.2.3", True)
    assert pong["uptime_s"] >= 0

    metrics = daemon.ask("metrics")
    assert (metrics["uptime_s"], metrics["streams"]) == (1.5, [])

    assert not daemon.shut_down.is_set()
    assert daemon.ask("shutdown") == {}
    assert daemon.shut_down.is_set()


def test_describe_tells_a_stranger_all_that_is_needed() -> None:
    told = Daemon().ask("describe")
    assert (told["version"], told["protocol"]) == ("1.2.3", 1)
    assert told["model"] == {
        "name": "pico-128",
        "fingerprint": "pico-128",
        "device": "cpu",
        "dtype": "float32",
        "input_size": 128,
        "precision": "fp32",
        "optimizations": ["mask_decoder"],
        "license": {"spdx": "Apache-2.0", "allows": "any use"},
    }
    assert told["limits"]["streams"] == 2
    assert told["limits"]["max_message_bytes"] == ControlConfig().max_message_bytes
    assert told["ops"] == sorted(OPERATIONS)
    schemas = told["schemas"]
    assert set(schemas["control"]["request"]["discriminator"]["mapping"]) == set(OPERATIONS)
    assert set(schemas["data"]) == {"masks", "events", "frames"}
    assert "counts" in schemas["$defs"]["RleMask"]["properties"]
