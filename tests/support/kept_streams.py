"""Streams whose objects are kept in a state folder, and the scheduler that tracks them."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from streams.mailbox import Mailbox
from tests.support.live_scene import drawn, live
from tests.support.small_pico import small_pico
from tracker.daemon.config.schema import StateConfig
from tracker.daemon.messages import Command, LiveFrame, RemoveCommand, RequestError, Tracked
from tracker.daemon.state.store import Store
from tracker.daemon.streams import KeptStream
from tracker.daemon.telemetry.status import TrackingStatus
from tracker.daemon.tracking.scheduler import CommandResult, Scheduler
from tracker.daemon.tracking.slot import Slot
from tracker.engine import Policy
from tracker.models import Model
from tracker.protocol.data import EventName
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode, PromptResult
from tracker.types import ObjectState

DEADLINE_S = 60.0
URL = "rtsp://admin:hunter2@10.0.0.9/live"
KEPT = KeptStream(StreamSettings(url=URL), paused=False, next_seq=13)


def keep(folder: Path, max_age_s: float = 300.0) -> Store:
    return Store(StateConfig(dir=folder, max_age_s=max_age_s))


class Tracker:
    """A running scheduler, and the registry of its streams."""

    def __init__(self, *streams: str, model: Model | None = None) -> None:
        self.tracked: list[Tracked] = []
        self.events: list[tuple[str, EventName, int | None]] = []
        self.mailboxes: dict[str, Mailbox[LiveFrame]] = {}
        self.slots: dict[str, Slot] = {}
        self.scheduler = Scheduler(
            model or small_pico(),
            Policy(history_frames=4, max_objects=8),
            commands_queued=8,
            on_tracked=self.tracked.append,
            on_event=lambda e: self.events.append((e.stream, e.name, e.object_id)),
        )
        for stream in streams:
            self.add(stream)
        self.scheduler.start()

    def add(self, stream: str) -> None:
        mailbox: Mailbox[LiveFrame] = Mailbox(
            capacity=1, drop_stale=True, on_put=self.scheduler.wake
        )
        self.mailboxes[stream] = mailbox
        self.slots[stream] = self.scheduler.add(stream, KEPT.settings, mailbox)

    def submit(self, stream: str, command: Command) -> "Future[CommandResult]":
        return self.scheduler.submit(self._slot(stream), command)

    def tracking(self, stream: str) -> TrackingStatus:
        return self._slot(stream).status()

    def _slot(self, stream: str) -> Slot:
        if stream not in self.slots:
            raise RequestError(ErrorCode.UNKNOWN_STREAM, f"there is no stream {stream}")
        return self.slots[stream]

    def track(self, stream: str, seq: int) -> Tracked:
        count = len(self.tracked)
        self.mailboxes[stream].put(live(seq, stream=stream))
        deadline_s = time.monotonic() + DEADLINE_S
        while len(self.tracked) == count:
            assert time.monotonic() < deadline_s, "the frame was never tracked"
            time.sleep(0.002)
        return self.tracked[-1]

    def prompt(self, stream: str, seq: int, label: str | None = None) -> int:
        result = self.submit(stream, drawn(seq, label=label)).result(DEADLINE_S)
        assert isinstance(result, PromptResult)
        return result.object.id

    def states(self, stream: str) -> Mapping[int, ObjectState]:
        return {obj.id: obj.state for obj in self.tracking(stream).objects}


@contextmanager
def tracking(*streams: str, model: Model | None = None) -> Iterator[Tracker]:
    tracker = Tracker(*streams, model=model)
    try:
        yield tracker
    finally:
        assert tracker.scheduler.stop(DEADLINE_S)


def save_two_objects(folder: Path) -> None:
    """Objects 1, "cup", and 3 of stream cam, on frame 10, as a daemon leaves them behind."""
    store = keep(folder)
    with tracking("cam") as tracker:
        tracker.track("cam", 10)
        for label in ("cup", None, None):
            tracker.prompt("cam", 10, label)
        tracker.submit("cam", RemoveCommand(2)).result(DEADLINE_S)
        assert store.save({"cam": KEPT}, tracker, timeout_s=DEADLINE_S) == {}
    store.close()
