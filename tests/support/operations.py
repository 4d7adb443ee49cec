"""Operations of a daemon whose sources, tracker and publisher are fakes."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.local_streams import local_streams
from tests.support.small_pico import small_pico
from tracker.daemon.config.schema import ControlConfig, LimitsConfig, RetryConfig
from tracker.daemon.control.operations import Operations
from tracker.daemon.control.parse import Rejected, parse
from tracker.daemon.messages import (
    Command,
    Event,
    RequestError,
)
from tracker.daemon.telemetry.collect import collect_streams
from tracker.daemon.telemetry.status import DaemonStatus, SourceStatus, TrackingStatus
from tracker.daemon.tracking.scheduler import CommandResult
from tracker.daemon.tracking.slot import Gate
from tracker.daemon.workers.model_info import ModelInfo
from tracker.models.registry import WeightsLicense
from tracker.protocol.data import EventName
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode, ObjectInfo, StreamState
from tracker.types import ObjectState

CUP = ObjectInfo(id=1, label="cup", state=ObjectState.VISIBLE, score=0.9, box=(1, 2, 3, 4))


SECRET_URL = "rtsp://admin:hunter2@10.0.0.9/live"


class FakeSupervisor:
    def __init__(self, stream: str, settings: StreamSettings, retry: RetryConfig, **given: Any):
        self.stream, self.settings, self.numbers = stream, settings, given["numbers"]
        self.on_frame, self.on_event = given["on_frame"], given["on_event"]
        self.mailbox = object()
        self.calls: list[str] = []
        self.came_back = False
        self.may_stop = threading.Event()
        self.may_stop.set()

    def give_numbers(self, count: int) -> list[int]:
        return [self.numbers.take() for _ in range(count)]

    def fail(self, error: Exception) -> None:
        self.calls.append("fail")

    def start(self) -> None:
        self.calls.append("start")
        self.on_event(Event(self.stream, EventName.STREAM_CONNECTING, 0))

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def stop(self, timeout_s: float) -> bool:
        assert self.may_stop.wait(20)
        self.calls.append("stop")
        return self.stream != "hanging"

    def status(self) -> SourceStatus:
        return SourceStatus(
            "rtsp://***@10.0.0.9/live",
            state=StreamState.RUNNING,
            policy="latest",
            frames=100,
            dropped=7,
            reconnects=2,
        )

    def hanging_threads(self) -> int:
        return int("stop" in self.calls and self.stream == "hanging" and not self.came_back)


class FakeScheduler:
    def __init__(self) -> None:
        self.mailboxes_of: dict[str, Any] = {}
        self.silent: dict[str, str] = {}
        self.submitted: list[tuple[str, Command]] = []
        self.futures: list[Future[Any]] = []
        self.answer: Any = None

    healthy = True
    activity = SimpleNamespace(busy_s=0.0)

    def add(self, stream: str, settings: StreamSettings, mailbox: object, **given: Any) -> Any:
        self.mailboxes_of[stream] = mailbox
        status = TrackingStatus(640, 360, (CUP,), newest_seq=99, fps=25.0, tracked=90)
        gate = Gate(lambda tracked: None, lambda event: None)
        return SimpleNamespace(stream=stream, gate=gate, status=lambda: status)

    def remove(self, slot: Any) -> None:
        del self.mailboxes_of[slot.stream]

    def wake(self) -> None:
        pass

    def silence(self, slot: Any, why: str) -> None:
        self.silent[slot.stream] = why

    def submit(self, slot: Any, command: Command) -> "Future[Any]":
        self.submitted.append((slot.stream, command))
        future: Future[Any] = Future()
        self.futures.append(future)
        if self.answer is not None:
            future.set_result(self.answer)
        return future


class FakePublisher:
    """Keeps what it is told, as "what stream"."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.texts: list[str] = []

    def event(self, event: Event) -> None:
        self.told.append(f"{event.name} {event.stream}")
        self.texts.append(event.text)

    def own(self, stream: str, owner_epoch: int) -> None:
        """Keep nothing of it."""

    def forget(self, stream: str) -> None:
        self.told.append(f"forget {stream}")

    def stream_status(self, stream: str) -> None:
        """Nothing was sent."""


def _nothing() -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(None)
    return future


class FakeSnapshots:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def save(self, stream: str) -> "Future[None]":
        self.calls.append(f"save {stream}")
        return _nothing()

    def restore(self, stream: str) -> "Future[CommandResult]":
        self.calls.append(f"restore {stream}")
        return _nothing()


LICENSE = WeightsLicense("Apache-2.0", "any use")


class Daemon:
    """A operations whose sources, tracker and subscribers are fakes."""

    def __init__(
        self,
        snapshots: FakeSnapshots | None = None,
        most_streams: int = 2,
        keep: Callable[[], Future[None]] | None = None,
    ) -> None:
        self.scheduler, self.publisher = FakeScheduler(), FakePublisher()
        self.supervisors: dict[str, FakeSupervisor] = {}
        self.changes = 0
        self.shut_down = threading.Event()
        limits = LimitsConfig(streams=most_streams)
        self.streams, self.worker = local_streams(
            self.scheduler,
            self.publisher,
            limits=limits,
            on_change=self._count_change,
            supervise=self._supervise,
        )
        self.operations = Operations(
            streams=self.streams,
            snapshots=snapshots,
            keep=keep,
            model=ModelInfo.of(
                replace(small_pico(), optimizations=("mask_decoder",), license=LICENSE)
            ),
            version="1.2.3",
            limits=limits,
            control=ControlConfig(),
            ready=lambda: True,
            stream_statuses=lambda: collect_streams(
                self.streams,
                self.publisher,  # type: ignore[arg-type]
            ),
            status=lambda: DaemonStatus(True, True, 1.5, "1.2.3", "pico", "cpu"),
            shut_down=self.shut_down.set,
        )

    def _count_change(self) -> None:
        self.changes += 1

    def _supervise(self, stream: str, *args: Any, **given: Any) -> Any:
        self.supervisors[stream] = FakeSupervisor(stream, *args, **given)
        return self.supervisors[stream]

    def begin(self, op: str, **fields: Any) -> "dict[str, Any] | Future[dict[str, Any]]":
        request = parse(json.dumps({"v": 1, "id": "1", "op": op, **fields}).encode(), 10**6)
        assert not isinstance(request, Rejected), request
        return self.operations.handle(request)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        result = self.begin(op, **fields)
        return result.result(20) if isinstance(result, Future) else result

    def add(self, stream: str = "cam1", **fields: Any) -> dict[str, Any]:
        return self.ask("stream.add", **{"stream": stream, "url": SECRET_URL} | fields)


def code(do: Callable[[], object]) -> ErrorCode:
    with pytest.raises(RequestError) as refused:
        do()
    assert "hunter2" not in str(refused.value)
    return refused.value.code
