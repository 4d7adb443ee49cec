"""Worker inside this process: a scheduler, and the supervisors of its sources."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from streams.access.policy import SourcePolicy
from streams.decode.threads import ffmpeg_threads
from streams.packet_tap import PacketTap
from streams.sources.registry import open_source
from tracker.daemon.config.schema import LimitsConfig, ModelConfig, RetryConfig
from tracker.daemon.finding.service import Finding
from tracker.daemon.messages import Command, Event, FindCommand, PromptCommand, RequestError
from tracker.daemon.record.recorders import Recorders
from tracker.daemon.sources.pixel_budget import PixelBudget, PixelLimit
from tracker.daemon.sources.spare_threads import can_start
from tracker.daemon.sources.supervisor import Supervisor
from tracker.daemon.telemetry.status import SourceStatus, TrackingStatus, WorkerStatus
from tracker.daemon.tracking.frame_numbers import FrameNumbers
from tracker.daemon.tracking.scheduler import CommandResult, Scheduler
from tracker.daemon.tracking.slot import Slot
from tracker.errors import UsageError
from tracker.protocol.data import EventName, Topic
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode, StreamState

_LOG = logging.getLogger("trackd.streams")
_OWN_THREADS = 16  # that the daemon starts now and then: to remove streams, to compute, to end
_MOST_PENDING = 8  # streams that threads are kept for until they run


@dataclass(frozen=True, slots=True)
class _Owned:
    """A stream of this worker: the supervisor of its source, and its slot in the scheduler."""

    supervisor: Supervisor
    slot: Slot


class LocalWorker:
    """Worker in this process.

    Args:
        scheduler: Tracks the streams.
        retry: How failing sources are opened again.
        limits: Pixels of frames.
        on_event: Takes what happens to sources; must not wait.
        finding: Its finders, which are shown what the scheduler tracks; of its own where left out.
        policy: Of sources that are not trusted; None for all.
        pixels: What the frames of all streams share; of its own where left out.
        supervise: Makes the owner of a source.
        close_timeout_s: Longest wait for a source that is removed; what hangs is left behind.
        threads: Threads that compute.
        name: For people.
        recorders: Record streams whose settings ask for it; none is recorded where left out.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        retry: RetryConfig,
        limits: LimitsConfig,
        *,
        on_event: Callable[[Event], None],
        finding: Finding | None = None,
        policy: SourcePolicy | None = None,
        pixels: PixelLimit | None = None,
        supervise: Callable[..., Supervisor] = Supervisor,
        close_timeout_s: float = 10.0,
        threads: Callable[[], int] = lambda: 0,
        name: str = "0",
        recorders: Recorders | None = None,
    ) -> None:
        self.name = name
        self._recorders = recorders
        self._scheduler = scheduler
        self._retry = retry
        self._on_event = on_event
        self._finding = finding or Finding(ModelConfig())
        self._policy = policy
        self._pixels = pixels or PixelBudget(limits)
        self._supervise = supervise
        self._close_timeout_s = close_timeout_s
        self._threads = threads
        self._lock = threading.RLock()
        self._streams: dict[str, _Owned] = {}
        self._removed: list[Supervisor] = []  # of which threads hang

    def wait_ready(self) -> None:
        """See `Worker`."""

    def check_room(self) -> None:
        """See `Worker`.

        Who takes the last thread stops the others: a source that fails then cannot be opened again,
        nor a stream removed. Threads are kept for streams that are yet to run, too.
        """
        states = [one.status().state for one in self._supervisors().values()]
        pending = sum(state is not StreamState.RUNNING for state in states)
        a_stream = 2 + 2 * ffmpeg_threads()
        if not can_start(_OWN_THREADS + (1 + min(pending, _MOST_PENDING)) * a_stream):
            raise _no_thread()

    def add(
        self,
        stream: str,
        settings: StreamSettings,
        numbers: FrameNumbers,
        *,
        paused: bool,
        trusted: bool,
    ) -> None:
        """See `Worker`."""
        with self._lock:
            policy = None if trusted else self._policy
            tap = self._begin_recording(stream, settings)
            supervisor = self._supervise(
                stream,
                settings,
                self._retry,
                on_frame=self._scheduler.wake,
                on_event=self._source_event,
                numbers=numbers,
                pixels=self._pixels,
                open_source=partial(open_source, policy=policy, tap=tap),
            )
            slot = self._scheduler.add(
                stream, settings, supervisor.mailbox, on_exhausted=supervisor.fail
            )
            if self._recorders is not None:
                self._recorders.follow(stream, slot.stream_tracker.snapshot)
            self._streams[stream] = owned = _Owned(supervisor, slot)
            try:
                self._add_finder(stream, settings, slot, trusted=trusted)
                supervisor.pause() if paused else supervisor.start()
            except (RuntimeError, RequestError) as err:
                del self._streams[stream]
                self._finding.remove(stream)
                self._scheduler.remove(owned.slot)
                self._end_recording(stream)
                raise err if isinstance(err, RequestError) else _no_thread() from err

    def _add_finder(
        self, stream: str, settings: StreamSettings, slot: Slot, *, trusted: bool
    ) -> None:
        try:
            self._finding.add(
                stream,
                settings.find,
                trusted=trusted,
                submit=partial(self._submit, stream, slot),
                on_event=slot.gate.event,
            )
        except UsageError as err:
            raise RequestError(ErrorCode.BAD_REQUEST, err.message, err.hint) from err

    def remove(self, stream: str) -> "Future[None]":
        """See `Worker`."""
        gone: Future[None] = Future()
        gone.set_running_or_notify_cancel()
        owned = self._owned(stream)
        # It is still there, so no more than `limits.streams` of these threads can wait.
        thread = threading.Thread(
            target=self._remove, args=(stream, owned, gone), name=f"remove-{stream}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as err:
            owned.slot.gate.open()  # it stays here, although it was saved to be moved
            raise _no_thread() from err
        return gone

    def _remove(self, stream: str, owned: _Owned, gone: "Future[None]") -> None:
        """Take a stream apart, from its source on; in a thread that may wait."""
        try:
            if not owned.supervisor.stop(self._close_timeout_s):
                _LOG.error("stream %s: its source hangs; its thread was left behind", stream)
            self._finding.remove(stream)
            self._scheduler.remove(owned.slot)
            self._end_recording(stream)
            with self._lock:
                self._removed.append(owned.supervisor)
                del self._streams[stream]
        except Exception as err:
            gone.set_exception(err)
        else:
            gone.set_result(None)

    def _begin_recording(self, stream: str, settings: StreamSettings) -> PacketTap | None:
        try:
            return None if self._recorders is None else self._recorders.add(stream, settings)
        except RuntimeError as err:
            raise _no_thread() from err

    def _end_recording(self, stream: str) -> None:
        if self._recorders and not self._recorders.remove(stream, self._close_timeout_s):
            _LOG.error("stream %s: the disk of its recording hangs", stream)

    def pause(self, stream: str) -> None:
        """See `Worker`."""
        self._owned(stream).supervisor.pause()

    def resume(self, stream: str) -> None:
        """See `Worker`."""
        try:
            self._owned(stream).supervisor.resume()
        except RuntimeError as err:
            raise _no_thread() from err

    def submit(self, stream: str, command: Command) -> "Future[CommandResult]":
        """See `Worker`."""
        owned = self._owned(stream)
        if isinstance(command, FindCommand):
            return cast("Future[CommandResult]", self._finding.find(stream, command))
        if isinstance(command, PromptCommand) and command.text is not None:
            return self._finding.prompt(stream, command)
        return self._submit(stream, owned.slot, command)

    def _submit(self, stream: str, slot: Slot, command: Command) -> "Future[CommandResult]":
        done = self._scheduler.submit(slot, command)
        if self._recorders is not None:
            self._recorders.watch(stream, command, done)
        return done

    def record(self, stream: str, *, on: bool) -> None:
        """See `Worker`."""
        self._owned(stream)
        if self._recorders is not None:
            self._recorders.switch(stream, on=on)

    def source(self, stream: str) -> SourceStatus:
        """See `Worker`."""
        status = self._owned(stream).supervisor.status()
        recording = None if self._recorders is None else self._recorders.status(stream)
        return replace(status, recording=recording)

    def tracking(self, stream: str) -> TrackingStatus:
        """See `Worker`."""
        status = self._owned(stream).slot.status()
        return replace(status, finding=self._finding.status(stream))

    def want(self, stream: str, topics: frozenset[Topic]) -> None:
        """See `Worker`; the publisher makes them."""

    def limit_threads(self, threads: int) -> None:
        """See `Worker`; whoever made the scheduler does this."""

    def status(self) -> WorkerStatus:
        """See `Worker`."""
        return WorkerStatus(
            streams=len(self._streams),
            threads=self._threads(),
            name=self.name,
            healthy=self._scheduler.healthy,
            busy_s=self._scheduler.activity.busy_s,
            abandoned_threads=self._hanging_threads(),
            finder_restarts=self._finding.restarts,
        )

    def _hanging_threads(self) -> int:
        """Readers that hang and were left behind, those of removed streams included."""
        with self._lock:
            self._removed = [one for one in self._removed if one.hanging_threads()]
            present = [owned.supervisor for owned in self._streams.values()]
            return sum(one.hanging_threads() for one in [*present, *self._removed])

    def let_go(self) -> None:
        """See `Worker`."""
        for supervisor in self._supervisors().values():
            supervisor.stop(0.0)

    def close_sources(self, timeout_s: float) -> bool:
        """See `Worker`."""
        supervisors = self._supervisors()
        ended = _stop_all(supervisors, timeout_s)
        for stream in supervisors.keys() - ended:
            _LOG.error("stream %s: its source hangs; its thread was left behind", stream)
        recorded = self._recorders is None or self._recorders.close(timeout_s)
        return supervisors.keys() == ended and recorded

    def stop(self, timeout_s: float) -> bool:
        """See `Worker`."""
        until_s = time.monotonic() + timeout_s
        ended = self._finding.stop(timeout_s)
        return self._scheduler.stop(max(0.0, until_s - time.monotonic())) and ended

    def _supervisors(self) -> dict[str, Supervisor]:
        with self._lock:
            return {stream: owned.supervisor for stream, owned in self._streams.items()}

    def _owned(self, stream: str) -> _Owned:
        with self._lock:
            owned = self._streams.get(stream)
        if owned is None:
            raise RequestError(ErrorCode.UNKNOWN_STREAM, f"there is no stream {stream}")
        return owned

    def _source_event(self, event: Event) -> None:
        """Pass on how a source is; a supervisor calls it, so it must not wait."""
        self._on_event(event)
        # Without the lock, for which a supervisor may not wait: who has it may wait for this one.
        owned = self._streams.get(event.stream)
        if owned is not None:
            self._scheduler.silence(owned.slot, _why_silent(event))


def _stop_all(supervisors: Mapping[str, Supervisor], timeout_s: float) -> set[str]:
    """Stop all at the same time, as far as there are threads to do so; returns who ended."""
    until_s = time.monotonic() + timeout_s
    ended: set[str] = set()

    def stop(stream: str) -> None:
        if supervisors[stream].stop(max(0.0, until_s - time.monotonic())):
            ended.add(stream)

    threads: list[threading.Thread] = []
    left: list[str] = []
    for stream, supervisor in supervisors.items():
        thread = threading.Thread(target=stop, args=(stream,), name="close", daemon=True)
        try:
            thread.start()
            threads.append(thread)
        except RuntimeError:  # no more threads
            supervisor.stop(0.0)
            left.append(stream)
    for stream in left:
        stop(stream)
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    return set(ended)


def _no_thread() -> RequestError:
    return RequestError(
        ErrorCode.LIMIT,
        "the system gives the daemon no more threads",
        "remove a stream, or raise the limit of threads (TasksMax of the unit, ulimit -u) or of "
        "memory (ulimit -v), where their stacks count",
    )


def _why_silent(event: Event) -> str:
    """The reason that a source that emitted this gives no frames for now; "" where it may."""
    match event.name:
        case EventName.STREAM_PAUSED:
            return "it is paused; resume it"
        case EventName.STREAM_ENDED:
            return f"{event.text}; resume it to play it again"
        case EventName.STREAM_RETRYING | EventName.STREAM_FAILED:
            return event.text
    return ""
