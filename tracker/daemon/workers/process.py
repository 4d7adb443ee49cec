"""Worker in a process of its own, as the daemon sees it: asked over a channel, and supervised.

A process that crashes, hangs or outgrows its memory is ended and started again with a backoff. Its
streams go on from their last snapshots, under their numbers; objects that a snapshot lacks come
back as lost. Whoever waits for a command then is told that it was not confirmed.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from streams.address import redact
from tracker.daemon.config.schema import DaemonConfig, NotifyConfig, RetryConfig
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
from tracker.daemon.sources.backoff import Backoff
from tracker.daemon.sources.pixel_budget import PixelBudget
from tracker.daemon.telemetry.status import SourceStatus, TrackingStatus, WorkerStatus
from tracker.daemon.tracking.frame_numbers import FrameNumbers
from tracker.daemon.tracking.stream_tracker import CommandResult
from tracker.daemon.workers import messages as say
from tracker.daemon.workers.channel import ChannelError
from tracker.daemon.workers.child import Child
from tracker.daemon.workers.model_info import ModelInfo
from tracker.daemon.workers.nursery import Nursery
from tracker.daemon.workers.record import ParkedCommand, StreamRecord
from tracker.daemon.workers.requests import Requests
from tracker.daemon.workers.watch import Watch
from tracker.errors import TrackdError
from tracker.protocol.data import EventName, Topic
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode, StreamState

START_S = 300.0  # for a model to be loaded on a slow disk
LET_GO_S = 2.0
MAX_SNAPSHOTS_BYTES = 2**30
_TICK_S = 0.25
_LOG = logging.getLogger("trackd.worker")
_RETRY = RetryConfig(first_s=0.5, longest_s=30.0, healthy_s=60.0)


class ProcessWorker:
    """Worker in a child process.

    Args:
        name: Names it for people.
        config: Of the daemon; its streams are left out.
        epoch: Of frame numbers.
        threads: That compute.
        on_tracked: Takes encoded frames; must not wait.
        on_event: Takes events; likewise.
        pixels: What the frames of all streams share.
        nursery: Starts the processes.
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
        own_ports: Callable[[], set[int]] = lambda: set(),
    ) -> None:
        self.name = name
        self._config = config
        self._epoch = epoch
        self._threads = threads
        self._on_tracked = on_tracked
        self._on_event = on_event
        self._pixels = pixels
        self._nursery = nursery
        self._own_ports = own_ports
        self._lock = threading.RLock()  # guards what follows
        self._streams: dict[str, StreamRecord] = {}
        self._requests = Requests()
        self._parked: list[ParkedCommand] = []
        self._child: Child | None = None
        self._is_ready = False
        self._status = WorkerStatus(name)
        self._restarts = 0
        self._model: Future[ModelInfo] = Future()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name=f"worker-{name}", daemon=True)

    # --- from any thread

    def start(self) -> None:
        """Start the process, and watch it from now on."""
        self._thread.start()

    def wait_ready(self) -> None:
        """See `Worker`."""
        self.model()

    def model(self) -> ModelInfo:
        """The model, once it is loaded for the first time.

        Raises:
            TrackdError: The process cannot start.
        """
        try:
            return self._model.result(START_S)
        except TimeoutError as err:
            raise TrackdError(f"worker {self.name} did not start in {START_S:g} s") from err

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
            with self._lock:
                self._streams.pop(stream, None)
            self._pixels.leave(stream)
            gone.set_result(None)

        with self._lock:
            self._owned(stream)
            number, left = self._requests.begin(stream)
            sent = self._is_ready and self._send(
                say.packed(say.RemoveStream(id=number, stream=stream))
            )
            if not sent:
                self._requests.take(number)
        if sent:
            left.add_done_callback(finish)
        else:
            finish(left)
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

    def submit(self, stream: str, command: Command) -> "Future[CommandResult]":
        """See `Worker`. While the process is started, commands wait for it.

        A future that is cancelled while its command is on the way may find it applied.
        """
        with self._lock:
            owned = self._owned(stream)
            if isinstance(command, RestoreCommand):
                owned.remember(command)
            if isinstance(command, SetZonesCommand):
                update = {"zones": dict(command.zones)}
                owned.settings = owned.settings.model_copy(update=update)
            return self._submit(stream, owned, command)

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
        """See `Worker`; a process that does not answer is ended, since it might go on to count."""
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

    def stop(self, timeout_s: float) -> bool:
        """See `Worker`; the process is ended where it does not by itself."""
        self._stopping.set()
        with self._lock:
            child = self._child
        if child is not None:
            child.end(timeout_s)
        if self._thread.ident is not None:
            self._thread.join(_TICK_S + 1.0)
        self._requests.fail_all(_shutting_down())
        return not self._thread.is_alive()

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
        return True

    # --- with the lock

    def _owned(self, stream: str) -> StreamRecord:
        owned = self._streams.get(stream)
        if owned is None:
            raise RequestError(ErrorCode.UNKNOWN_STREAM, f"there is no stream {stream}")
        return owned

    def _send(self, parts: list[bytes]) -> bool:
        """Queue a message to the process that is ready; False where there is none, or no room."""
        return self._is_ready and self._child is not None and self._child.send(parts)

    def _send_add(self, owned: StreamRecord, *, paused: bool) -> None:
        self._send(say.packed(owned.adding(self._own_ports(), paused=paused)))
        if owned.previews:
            self._send(say.packed(owned.wanting()))

    def _submit(
        self, stream: str, owned: StreamRecord, command: Command
    ) -> "Future[CommandResult]":
        number, future = self._requests.begin(stream)
        parts = say.pack_command(number, stream, ASKING.get(), command)
        if not (self._send(parts) if self._is_ready else self._park(stream, future, parts)):
            self._requests.take(number)
            raise RequestError(
                ErrorCode.BUSY,
                f"too many commands wait for worker {self.name}",
                "wait for their replies, or raise limits.commands_queued",
            )
        if isinstance(command, SaveCommand):
            future.add_done_callback(partial(self._keep, owned))
        future.add_done_callback(partial(self._forward_cancel, number))
        return future

    def _park(self, stream: str, future: "Future[CommandResult]", parts: list[bytes]) -> bool:
        """Keep a command until the process is ready; False where too many of a stream wait."""
        waiting = sum(one.stream == stream for one in self._parked)
        if waiting >= self._config.limits.commands_queued:
            return False
        self._parked.append(ParkedCommand(stream, future, parts))
        return True

    # --- in the thread that watches the process

    def _supervise(self) -> None:
        backoff = Backoff(_RETRY)
        while not self._stopping.is_set():
            begun_s = time.monotonic()
            why = self._live()
            if self._stopping.is_set():
                return
            if not self._model.done():
                error = TrackdError(f"worker {self.name} cannot start: {why}", "the log tells more")
                self._model.set_exception(error)
                return
            wait_s = backoff.failed(time.monotonic() - begun_s)
            self._note_end(why, wait_s)
            self._stopping.wait(wait_s)

    def _live(self) -> str:
        """Live through one process, from its start to its end; returns how that came."""
        try:
            child = Child(self.name, self._nursery)
        except OSError as err:
            return f"no process: {err.strerror}"
        with self._lock:
            self._child = child
        fault = ""
        try:
            fault = self._listen(child)
        except ChannelError as err:
            _LOG.debug("worker %s: %s", self.name, err)
        with self._lock:
            self._is_ready = False
            self._child = None
        if fault:
            child.kill()
        how = child.end(1.0)
        return fault or how

    def _listen(self, child: Child) -> str:
        """Take in what the process says; returns the reason to end it."""
        setup = say.Setup(
            name=self.name,
            config=self._config.model_copy(update={"streams": {}, "notify": NotifyConfig()}),
            epoch=self._epoch,
            threads=self._threads,
        )
        child.send(say.packed(setup))
        watch = self._watch(child, START_S)
        while not self._stopping.is_set():
            parts = child.receive(_TICK_S)
            if parts is not None:
                message = say.from_worker(parts)
                if isinstance(message, say.Ready):
                    self._begin(message.model)
                    watch = self._watch(child, self._config.workers.hang_timeout_s)
                elif isinstance(message, say.Pong):
                    watch.answered(message.status.busy_s)
                    self._take_status(message.status)
                else:
                    self._take_in(message, parts)
            if self._is_ready and watch.is_due():
                child.send(say.packed(say.Ping()))
                self._save_due()
                if fault := watch.fault():
                    return fault
            elif not self._is_ready and (fault := watch.fault()):
                return fault
        return ""

    def _watch(self, child: Child, hang_timeout_s: float) -> Watch:
        return Watch(
            hang_timeout_s=hang_timeout_s,
            most_bytes=self._config.workers.memory_bytes,
            memory_bytes=child.memory_bytes,
            processor_s=child.processor_s,
        )

    def _take_in(self, message: say.FromWorker, parts: list[bytes]) -> None:
        match message:
            case say.FrameDone():
                if self._reach(message.stream, message.frame_seq + 1):
                    self._on_tracked(say.read_frame(message, parts))
            case say.Happened():
                self._on_event(say.read_event(parts))
            case say.Report():
                self._take_report(message, parts)
            case say.Done():
                self._take_result(message, parts)
            case say.AskPixels():
                self._give_pixels(message)
            case say.LeavePixels():
                self._pixels.leave(message.stream)
            case say.Failed():
                if not self._model.done():
                    self._model.set_exception(TrackdError(message.message, message.hint))
                    self._stopping.set()

    def _take_status(self, status: WorkerStatus) -> None:
        with self._lock:
            self._status = status

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
        found = self._requests.take(done.id)
        if found is None:
            return
        stream, future = found
        if done.next_seq:
            self._reach(stream, done.next_seq)
        if not future.set_running_or_notify_cancel():
            return
        if done.error is None:
            future.set_result(say.read_result(done, parts))
        else:
            error = done.error
            future.set_exception(RequestError(error.code, error.message, error.hint))

    def _give_pixels(self, asked: say.AskPixels) -> None:
        fits = asked.pixels is not None and self._pixels.take(asked.stream, asked.pixels)
        room = self._pixels.room(asked.stream)
        with self._lock:
            self._send(say.packed(say.PixelsGiven(id=asked.id, room=room, fits=fits)))

    def _begin(self, model: ModelInfo) -> None:
        """Hand the streams to a process that is ready."""
        with self._lock:
            self._is_ready = True
            streams = dict(self._streams)
            for stream, owned in streams.items():
                self._begin_stream(stream, owned)
            parked, self._parked = self._parked, []
            for one in parked:
                if not one.future.cancelled():
                    self._send(one.parts)
        if not self._model.done():
            self._model.set_result(model)

    def _begin_stream(self, stream: str, owned: StreamRecord) -> None:
        """Add a stream, with the objects that it had, before any of its frames."""
        self._send_add(owned, paused=owned.paused or owned.had_objects)
        if owned.had_objects:
            command = owned.restoring()
            restored = self._submit(stream, owned, command)
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
                again = self._submit(stream, owned, lost)
                again.add_done_callback(partial(self._restored, stream, owned, lost))
            elif not owned.paused and self._streams.get(stream) is owned:
                self._send(say.packed(say.ResumeStream(stream=stream)))

    def _save_due(self) -> None:
        """Ask for snapshots of streams with objects that were not saved of late."""
        with self._lock:
            for stream, owned in self._streams.items():
                if owned.saving_is_due(self._config.state.every_s):
                    self._submit(stream, owned, SaveCommand())

    def _keep(self, owned: StreamRecord, saved: "Future[CommandResult]") -> None:
        """Keep a snapshot for the next start, where there is room for it."""
        if saved.cancelled() or saved.exception() is not None:
            return
        with self._lock:
            others = (one.snapshot or b"" for one in self._streams.values() if one is not owned)
            owned.keep(saved.result(), MAX_SNAPSHOTS_BYTES - sum(map(len, others)))

    def _forward_cancel(self, number: int, future: "Future[CommandResult]") -> None:
        if future.cancelled():
            with self._lock:
                self._send(say.packed(say.Cancel(id=number)))

    def _note_end(self, why: str, wait_s: float) -> None:
        """Say what became of the process, and let nobody wait for it."""
        text = f"its worker {self.name} is started again in {wait_s:.1f} s: {why}"
        _LOG.error("worker %s: %s; started again in %.1f s", self.name, why, wait_s)
        with self._lock:
            self._restarts += 1
            self._parked.clear()
            streams = dict(self._streams)
            for stream, owned in streams.items():
                self._pixels.leave(stream)
                if not owned.paused:
                    owned.source = replace(owned.source, state=StreamState.RETRYING, error=text)
        for stream, owned in streams.items():
            if not owned.paused:
                name = EventName.STREAM_RETRYING
                self._on_event(Event(stream, name, time.time_ns(), text=text))
        told = f"worker {self.name} ended before it confirmed this: {why}"
        hint = "look at the objects, then try again"
        self._requests.fail_all(RequestError(ErrorCode.BUSY, told, hint))


def _shutting_down() -> RequestError:
    return RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down")
