"""Worker in a process of its own, as the daemon sees it: asked over a channel, and supervised.

The streams of a process that ended go on in the next from their last snapshots, under their
numbers; objects that a snapshot lacks come back as lost. Whoever waited for a command is told that
it was not confirmed.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial

from streams.address import redact
from tracker.daemon.config.schema import DaemonConfig, NotifyConfig
from tracker.daemon.control.asking import ASKING
from tracker.daemon.messages import (
    Command,
    Event,
    RequestError,
    RestoreCommand,
    SaveCommand,
    SetZonesCommand,
)
from tracker.daemon.publish.encoder import EncodedFrame
from tracker.daemon.record.snapshots import OnNote
from tracker.daemon.sources.pixel_budget import PixelBudget
from tracker.daemon.telemetry.status import SourceStatus, TrackingStatus, WorkerStatus
from tracker.daemon.tracking.frame_numbers import FrameNumbers
from tracker.daemon.tracking.stream_tracker import CommandResult
from tracker.daemon.workers import messages as say
from tracker.daemon.workers.nursery import Nursery
from tracker.daemon.workers.record import StreamRecord
from tracker.daemon.workers.requests import Requests
from tracker.daemon.workers.supervised import SupervisedProcess
from tracker.protocol.data import EventName, Topic
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode, StreamState

LET_GO_S = 2.0
_LOG = logging.getLogger("trackd.worker")
#: Errors of the removal of a stream after which it is gone: unknown to the process, or with it.
_GONE = (ErrorCode.UNKNOWN_STREAM, ErrorCode.TIMEOUT, ErrorCode.SHUTTING_DOWN)


class ProcessWorker(SupervisedProcess):
    """Worker in a child process.

    Args:
        name: Names it for people.
        config: Of the daemon; its streams are left out.
        epoch: Of frame numbers.
        threads: That compute.
        on_tracked: Takes encoded frames; must not wait.
        on_event: Takes events; likewise.
        on_note: Takes notes for recordings; likewise.
        pixels: What the frames of all streams share.
        nursery: Starts the processes.
        snapshots_bytes: Of all streams, that are kept for its next start.
        own_ports: Those that the daemon listens on.
    """

    def __init__(
        self,
        name: str,
        config: DaemonConfig,
        *,
        epoch: str,
        threads: int,
        on_tracked: Callable[[EncodedFrame], None],
        on_event: Callable[[Event], None],
        pixels: PixelBudget,
        nursery: Nursery,
        snapshots_bytes: int,
        own_ports: Callable[[], set[int]] = lambda: set(),
        on_note: OnNote = lambda stream, topic, *parts: None,
    ) -> None:
        super().__init__(name, config.workers, nursery)
        self._config = config
        self._epoch = epoch
        self._threads = threads
        self._on_tracked = on_tracked
        self._on_event = on_event
        self._on_note = on_note
        self._pixels = pixels
        self._snapshots_bytes = snapshots_bytes
        self._own_ports = own_ports
        # These are guarded by the lock.
        self._streams: dict[str, StreamRecord] = {}
        self._requests = Requests(name, config.limits.commands_queued)
        self._restarts = 0

    # --- from any thread

    def wait_ready(self) -> None:
        """See `Worker`."""
        self.model()

    def limit_threads(self, threads: int) -> None:
        """Compute with at most so many threads from now on."""
        with self._lock:
            self._threads = threads
            self._send(say.packed(say.SetThreads(threads=threads)))

    def check_room(self) -> None:
        """See `Worker`; a process without threads for a source says so when it opens it."""

    def add(
        self,
        stream: str,
        settings: StreamSettings,
        numbers: FrameNumbers,
        *,
        paused: bool,
        trusted: bool,
    ) -> None:
        """See `Worker`. While the process is started, the stream waits for it."""
        source = SourceStatus(redact(settings.url))
        with self._lock:
            owned = StreamRecord(stream, settings, numbers, paused, trusted, source)
            self._streams[stream] = owned
            if self._is_ready:
                self._send_add(owned, paused=paused)

    def remove(self, stream: str) -> "Future[None]":
        """See `Worker`."""
        gone: Future[None] = Future()
        gone.set_running_or_notify_cancel()

        def finish(left: "Future[CommandResult]") -> None:
            error = left.exception()
            if isinstance(error, RequestError) and error.code not in _GONE:
                gone.set_exception(error)
                return
            with self._lock:
                self._streams.pop(stream, None)
            self._pixels.leave(stream)
            gone.set_result(None)

        with self._lock:
            self._owned(stream)
            number, left = self._requests.begin(stream)
            if not self._is_ready:
                self._requests.take(number)
                left.set_result(None)
            elif not self._send(say.packed(say.RemoveStream(id=number, stream=stream))):
                self._requests.take(number)
                raise self._requests.refusal()
        left.add_done_callback(finish)
        return gone

    def pause(self, stream: str) -> None:
        """See `Worker`."""
        with self._lock:
            self._owned(stream).paused = True
            self._send(say.packed(say.PauseStream(stream=stream)))

    def resume(self, stream: str) -> None:
        """See `Worker`."""
        with self._lock:
            self._owned(stream).paused = False
            self._send(say.packed(say.ResumeStream(stream=stream)))

    def record(self, stream: str, *, on: bool) -> None:
        """See `Worker`."""
        with self._lock:
            owned = self._owned(stream)
            owned.settings = owned.settings.recorded(on=on)
            self._send(say.packed(say.RecordStream(stream=stream, on=on)))

    def submit(self, stream: str, command: Command) -> "Future[CommandResult]":
        """See `Worker`. While the process is started, commands wait for it.

        A future that is cancelled while its command is on the way may find it applied.
        """
        with self._lock:
            owned = self._owned(stream)
            if isinstance(command, SaveCommand) and not self._is_ready:
                raise self._not_ready()
            number, future = self._requests.begin_command(stream)
            if isinstance(command, RestoreCommand):
                owned.remember(command)
            done = self._submit(owned, command, number, future)
            if isinstance(command, SetZonesCommand):
                update = {"zones": dict(command.zones)}
                owned.settings = owned.settings.model_copy(update=update)
            return done

    def want(self, stream: str, topics: frozenset[Topic]) -> None:
        """Have these previews of a stream made from now on."""
        with self._lock:
            owned = self._streams.get(stream)
            if owned is not None:
                owned.previews = topics
                self._send(say.packed(owned.wanting()))

    def source(self, stream: str) -> SourceStatus:
        """See `Worker`; as old as the last report, a second at most."""
        with self._lock:
            return self._owned(stream).source

    def tracking(self, stream: str) -> TrackingStatus:
        """See `Worker`; what commands did is in it once they are confirmed."""
        with self._lock:
            return self._owned(stream).tracking

    def status(self) -> WorkerStatus:
        """See `Worker`."""
        with self._lock:
            child = self._child
            return replace(
                self._status,
                name=self.name,
                healthy=self._thread.is_alive(),
                ready=int(self._is_ready),
                streams=len(self._streams),
                pid=None if child is None else child.pid,
                memory_bytes=None if child is None else child.memory_bytes(),
                restarts=self._restarts,
            )

    def let_go(self) -> None:
        """See `Worker`; a process that does not answer is ended, since it might go on to count.

        So is one that is not ready, and none is started any more.
        """
        with self._lock:
            self._leaving.set()
            if not self._is_ready:
                self._stopping.set()
                return
        if not self._asked(lambda number: say.LetGo(id=number), LET_GO_S):
            self._stopping.set()
            with self._lock:
                child = self._child
            if child is not None:
                child.kill()

    def close_sources(self, timeout_s: float) -> bool:
        """See `Worker`."""
        return self._asked(
            lambda number: say.CloseSources(id=number, timeout_s=max(0.0, timeout_s)), timeout_s
        )

    def _asked(
        self, message: "Callable[[int], say.LetGo | say.CloseSources]", wait_s: float
    ) -> bool:
        """Ask for something and wait for it; True where it was done, or no process is there."""
        with self._lock:
            if not self._is_ready:
                return True
            number, future = self._requests.begin("")
            self._send(say.packed(message(number)))
        try:
            future.result(max(0.0, wait_s))
        except (TimeoutError, RequestError):
            return False
        finally:
            self._requests.take(number)
        return True

    # --- with the lock

    def _owned(self, stream: str) -> StreamRecord:
        owned = self._streams.get(stream)
        if owned is None:
            raise RequestError(ErrorCode.UNKNOWN_STREAM, f"there is no stream {stream}")
        return owned

    def _send_add(self, owned: StreamRecord, *, paused: bool) -> None:
        self._send(say.packed(owned.adding(self._own_ports(), paused=paused)))
        if owned.previews:
            self._send(say.packed(owned.wanting()))

    def _submit(
        self, owned: StreamRecord, command: Command, number: int, future: "Future[CommandResult]"
    ) -> "Future[CommandResult]":
        """Send a command that was begun, or keep it until the process is ready."""
        parts = say.pack_command(number, owned.stream, ASKING.get(), command)
        if not self._is_ready:
            self._requests.park(number, parts)
        elif not self._send(parts):
            self._requests.take(number)
            raise self._requests.refusal()
        if isinstance(command, SaveCommand):
            future.add_done_callback(partial(self._keep, owned))
        future.add_done_callback(partial(self._forward_cancel, number))
        return future

    def _submit_own(self, owned: StreamRecord, command: Command) -> "Future[CommandResult]":
        """Send a command of the daemon's own, however many of others wait."""
        return self._submit(owned, command, *self._requests.begin(owned.stream))

    def _not_ready(self) -> RequestError:
        return RequestError(
            ErrorCode.BUSY, f"worker {self.name} is being started", "try again in a moment"
        )

    # --- in the thread that watches the process

    def _take_in(self, message: say.FromWorker, parts: list[bytes]) -> None:
        match message:
            case say.FrameDone():
                if self._reach(message.stream, message.frame_seq + 1):
                    self._on_tracked(say.read_frame(message, parts))
            case say.Happened():
                self._on_event(say.read_event(parts))
            case say.Noted():
                self._on_note(message.stream, message.topic, *parts[1:])
            case say.Report():
                self._take_report(message, parts)
            case say.Done():
                self._take_result(message, parts)
            case say.AskPixels():
                self._give_pixels(message)
            case say.LeavePixels():
                self._pixels.leave(message.stream)

    def _reach(self, stream: str, next_seq: int) -> bool:
        """Take note of a frame's number; False where there is no such stream."""
        with self._lock:
            owned = self._streams.get(stream)
            if owned is not None:
                owned.numbers.reach(next_seq)
            return owned is not None

    def _take_report(self, report: say.Report, parts: list[bytes]) -> None:
        source, tracking = say.read_report(parts)
        with self._lock:
            owned = self._streams.get(report.stream)
            if owned is not None:
                owned.numbers.reach(report.next_seq)
                owned.source, owned.tracking = source, tracking

    def _take_result(self, done: say.Done, parts: list[bytes]) -> None:
        result = say.read_result(done, parts) if done.error is None else None
        found = self._requests.take(done.id)
        if found is None:
            return
        stream, future = found
        if done.next_seq:
            self._reach(stream, done.next_seq)
        if not future.set_running_or_notify_cancel():
            return
        if done.error is None:
            future.set_result(result)
        else:
            error = done.error
            future.set_exception(RequestError(error.code, error.message, error.hint))

    def _give_pixels(self, asked: say.AskPixels) -> None:
        fits = asked.pixels is not None and self._pixels.take(asked.stream, asked.pixels)
        room = self._pixels.room(asked.stream)
        with self._lock:
            self._send(say.packed(say.PixelsGiven(id=asked.id, room=room, fits=fits)))

    def _setup(self) -> say.Setup:
        return say.Setup(
            name=self.name,
            config=self._config.model_copy(update={"streams": {}, "notify": NotifyConfig()}),
            epoch=self._epoch,
            threads=self._threads,
        )

    def _hand_over(self) -> None:
        """Give the streams to a process that is ready, then the commands that waited for it."""
        self._send(say.packed(say.SetThreads(threads=self._threads)))
        streams = dict(self._streams)
        for stream, owned in streams.items():
            self._begin_stream(stream, owned)
        self._requests.unpark(self._send)

    def _begin_stream(self, stream: str, owned: StreamRecord) -> None:
        """Add a stream, with the objects that it had, before any of its frames."""
        self._send_add(owned, paused=owned.paused or owned.had_objects)
        if owned.had_objects:
            command = owned.restoring()
            restored = self._submit_own(owned, command)
            restored.add_done_callback(partial(self._restored, stream, owned, command))

    def _restored(
        self,
        stream: str,
        owned: StreamRecord,
        command: RestoreCommand,
        done: "Future[CommandResult]",
    ) -> None:
        """Open the source once the objects are there; where they cannot be, list them as lost."""
        error = done.exception()
        with self._lock:
            if error is not None and self._is_ready and not command.lost:
                _LOG.warning("stream %s: its objects are lost: %s", stream, error)
                lost = replace(command, lost=True, data=None)
                again = self._submit_own(owned, lost)
                again.add_done_callback(partial(self._restored, stream, owned, lost))
            elif not owned.paused and self._streams.get(stream) is owned:
                self._send(say.packed(say.ResumeStream(stream=stream)))

    def _tick(self) -> None:
        """Ask for snapshots of streams with objects that were not saved of late."""
        with self._lock:
            for owned in self._streams.values():
                if owned.saving_is_due(self._config.state.every_s):
                    with suppress(RequestError):  # too much waits for the process: next time
                        self._submit_own(owned, SaveCommand())

    def _keep(self, owned: StreamRecord, saved: "Future[CommandResult]") -> None:
        """Keep a snapshot for the next start, where there is room for it."""
        if saved.cancelled() or saved.exception() is not None:
            return
        with self._lock:
            others = (one.snapshot or b"" for one in self._streams.values() if one is not owned)
            owned.keep(saved.result(), self._snapshots_bytes - sum(map(len, others)))

    def _forward_cancel(self, number: int, future: "Future[CommandResult]") -> None:
        if future.cancelled():
            self._requests.take(number)
            with self._lock:
                self._send(say.packed(say.Cancel(id=number)))

    def _note_end(self, why: str, wait_s: float) -> None:
        """Say what became of the process, and let nobody wait for it."""
        text = f"its worker {self.name} is started again in {wait_s:.1f} s: {why}"
        _LOG.error("worker %s: %s; started again in %.1f s", self.name, why, wait_s)
        with self._lock:
            self._restarts += 1
            streams = dict(self._streams)
            for stream, owned in streams.items():
                self._pixels.leave(stream)
                if not owned.paused:
                    owned.source = replace(owned.source, state=StreamState.RETRYING, error=text)
        for stream, owned in streams.items():
            if not owned.paused:
                name = EventName.STREAM_RETRYING
                self._on_event(Event(stream, name, time.time_ns(), text=text))
        self._requests.fail_all(why)

    def _close(self) -> None:
        self._requests.close()
