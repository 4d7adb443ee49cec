"""Registry of streams: the only owner of what streams there are."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from streams.access.policy import SourcePolicy
from streams.address import parse_address
from streams.decode.threads import ffmpeg_threads
from streams.errors import StreamError
from streams.sources.registry import open_source
from tracker.daemon.config.schema import LimitsConfig, RetryConfig
from tracker.daemon.messages import Command, Event, RequestError
from tracker.daemon.publish.publisher import Publisher
from tracker.daemon.sources.frame_rate_limiter import check_deadline
from tracker.daemon.sources.pixel_budget import PixelBudget
from tracker.daemon.sources.spare_threads import can_start
from tracker.daemon.sources.supervisor import Supervisor
from tracker.daemon.telemetry.status import SourceStatus, TrackingStatus
from tracker.daemon.tracking.frame_numbers import RESERVED, FrameNumbers, Numbering
from tracker.daemon.tracking.scheduler import CommandResult, Scheduler
from tracker.daemon.tracking.slot import Slot
from tracker.errors import UsageError
from tracker.protocol.data import EventName
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode, StreamState

_LOG = logging.getLogger("trackd.streams")
_OWN_THREADS = 16  # that the daemon starts now and then: to remove streams, to compute, to end
_MOST_PENDING = 8  # streams that threads are kept for until they run


@dataclass(slots=True)
class _Entry:
    settings: StreamSettings
    supervisor: Supervisor
    slot: Slot
    paused: bool
    numbers: FrameNumbers
    configured: bool
    closing: bool = False


@dataclass(frozen=True, slots=True)
class KeptStream:
    """Record from which a stream is opened again after a restart.

    Attributes:
        settings: Its source; holds credentials.
        paused: It was not to run.
        next_seq: Number of its first frame then; a stream that runs gives out none so high.
        configured: The configuration names it.
    """

    settings: StreamSettings
    paused: bool
    next_seq: int
    configured: bool = False


class Streams:
    """Adds, removes, pauses and resumes streams; from any thread, and without waiting for sources.

    Args:
        scheduler: Tracks them.
        publisher: Sends what happens to them.
        retry: How failing sources are opened again.
        limits: How many there may be.
        on_change: Called after a stream came, went, was paused or resumed; must not wait.
        numbering: Numbers their frames.
        policy: What may be opened for clients, and is not asked about what the configuration
            names; None for all.
        supervise: Makes the owner of a source.
        close_timeout_s: Longest wait for a source that is removed; what hangs is left behind.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        publisher: Publisher,
        retry: RetryConfig,
        limits: LimitsConfig,
        *,
        on_change: Callable[[], object] = lambda: None,
        numbering: Numbering | None = None,
        policy: SourcePolicy | None = None,
        supervise: Callable[..., Supervisor] = Supervisor,
        close_timeout_s: float = 10.0,
    ) -> None:
        self._scheduler = scheduler
        self._publisher = publisher
        self._retry = retry
        self._limits = limits
        self._on_change = on_change
        self._numbering = numbering or Numbering()
        self._policy = policy
        self._supervise = supervise
        self._close_timeout_s = close_timeout_s
        self._pixels = PixelBudget(limits)
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        self._closed = False
        self._removed: list[Supervisor] = []  # of which threads hang

    @property
    def epoch(self) -> str:
        """With its number, what names a frame for good; see `Numbering`."""
        return self._numbering.epoch

    def add(
        self,
        stream: str,
        settings: StreamSettings,
        *,
        paused: bool = False,
        first_seq: int | None = None,
        configured: bool = False,
    ) -> None:
        """Open a source and track on it from now on.

        Args:
            stream: A name that no stream has.
            settings: The source.
            paused: Do not open it before `resume`.
            first_seq: Number of its first frame; None for one that no stream of its name had.
            configured: The configuration names it.

        Raises:
            RequestError: `BAD_SOURCE`, `BAD_REQUEST` (its deadline), `STREAM_EXISTS`, `LIMIT` (of
                streams, or of threads) or `SHUTTING_DOWN`. Nothing is left behind then.
        """
        policy = None if configured else self._policy
        shown = _checked_address(settings, policy)
        try:
            check_deadline(settings)
        except UsageError as err:
            raise RequestError(ErrorCode.BAD_REQUEST, err.message, err.hint) from err
        with self._lock:
            self._check_room(stream)
            if not paused:
                self._check_threads()
            numbers = self._numbering.start(stream, first_seq)
            supervisor = self._supervise(
                stream,
                settings,
                self._retry,
                on_frame=self._scheduler.wake,
                on_event=self._source_event,
                numbers=numbers,
                pixels=self._pixels,
                open_source=partial(open_source, policy=policy),
            )
            slot = self._scheduler.add(
                stream, settings, supervisor.mailbox, on_exhausted=supervisor.fail
            )
            entry = _Entry(settings, supervisor, slot, paused, numbers, configured)
            self._entries[stream] = entry
            self._emit(stream, EventName.STREAM_ADDED, shown)
            self._begin(stream, entry)
        _LOG.info("stream %s added: %s", stream, shown)
        self._on_change()

    def _begin(self, stream: str, entry: _Entry) -> None:
        """Open the source, unless it is paused; without a thread for it nothing is left behind."""
        try:
            if entry.paused:
                entry.supervisor.pause()
            else:
                entry.supervisor.start()
        except RuntimeError as err:
            self._scheduler.remove(entry.slot)
            self._forget(stream)
            raise _no_thread() from err

    def remove(self, stream: str) -> "Future[None]":
        """Close a source and forget its objects; the future is done when that is done.

        Raises:
            RequestError: `UNKNOWN_STREAM`, or `LIMIT` of threads; then it stays.
        """
        gone: Future[None] = Future()
        gone.set_running_or_notify_cancel()
        with self._lock:
            entry = self._entry(stream)
            # It still counts, so no more than `limits.streams` of these threads can wait.
            thread = threading.Thread(
                target=self._remove,
                args=(stream, entry, gone),
                name=f"remove-{stream}",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError as err:
                raise _no_thread() from err
            entry.closing = True
        return gone

    def pause(self, stream: str) -> None:
        """Close a source and keep its objects; does nothing to a paused one.

        Raises:
            RequestError: `UNKNOWN_STREAM`.
        """
        with self._lock:
            entry = self._entry(stream)
            entry.paused = True
            entry.supervisor.pause()
        self._on_change()

    def resume(self, stream: str) -> None:
        """Open a paused source again, or retry a failing one now.

        Raises:
            RequestError: `UNKNOWN_STREAM`, or `LIMIT` of threads.
        """
        with self._lock:
            entry = self._entry(stream)
            entry.paused = False
            try:
                entry.supervisor.resume()
            except RuntimeError as err:
                raise _no_thread() from err
        self._on_change()

    def submit(self, stream: str, command: Command) -> "Future[CommandResult]":
        """Queue a command for the objects of a stream: see `Scheduler.submit`.

        Raises:
            RequestError: `UNKNOWN_STREAM`, `BUSY` or `SHUTTING_DOWN`.
        """
        with self._lock:
            slot = self._entry(stream).slot
        return self._scheduler.submit(slot, command)

    def tracking(self, stream: str) -> TrackingStatus:
        """Status of a stream in the scheduler.

        Raises:
            RequestError: `UNKNOWN_STREAM`.
        """
        with self._lock:
            slot = self._entry(stream).slot
        return slot.status()

    def settings(self) -> dict[str, StreamSettings]:
        """Settings of each stream, in the order in which they were added."""
        with self._lock:
            return {name: entry.settings for name, entry in self._entries.items()}

    def sources(self) -> dict[str, SourceStatus]:
        """Status of each source."""
        with self._lock:
            return {name: entry.supervisor.status() for name, entry in self._entries.items()}

    @property
    def abandoned_threads(self) -> int:
        """Readers that hang and were left behind, those of removed streams included."""
        with self._lock:
            self._removed = [one for one in self._removed if one.hanging_threads()]
            present = [entry.supervisor for entry in self._entries.values()]
            return sum(one.hanging_threads() for one in [*present, *self._removed])

    def emit_all(self, name: EventName, text: str) -> None:
        """Send an event to the subscribers of every stream."""
        with self._lock:
            for stream in self._entries:
                self._emit(stream, name, text)

    def kept(self) -> dict[str, KeptStream]:
        """Records from which all streams are opened again."""
        with self._lock:
            bound = None if self._closed else self.first_seq()
            return {
                name: KeptStream(
                    entry.settings,
                    entry.paused,
                    entry.numbers.next if bound is None else bound,
                    entry.configured,
                )
                for name, entry in self._entries.items()
                if not entry.closing
            }

    def let_go(self) -> None:
        """Take no more streams and no more frames; does not wait for the sources to close."""
        with self._lock:
            self._closed = True
            supervisors = [entry.supervisor for entry in self._entries.values()]
        for supervisor in supervisors:
            supervisor.stop(0.0)

    def first_seq(self) -> int:
        """Number, after a restart, of the first frame of streams that are not kept.

        Until all sources are closed it is ahead of all streams, kept or not, and counts for all.
        """
        with self._lock:
            entries = [one for one in self._entries.values() if one.closing or not self._closed]
            reached = max([self._numbering.first, *(one.numbers.next for one in entries)])
            return reached + (0 if self._closed else RESERVED)

    def reserve(self, kept: Mapping[str, KeptStream], first_seq: int) -> None:
        """Take note that `kept` and `first_seq` are on the disk."""
        self._numbering.reserve(min([first_seq, *(one.next_seq for one in kept.values())]))

    def close_all(self, timeout_s: float) -> bool:
        """Close all sources at the same time, and take no more; False where some thread hangs.

        What is known of them stays, to be kept over a restart.
        """
        with self._lock:
            self._closed = True
            supervisors = {name: entry.supervisor for name, entry in self._entries.items()}
        ended = _stop_all(supervisors, timeout_s)
        for stream in supervisors.keys() - ended:
            _LOG.error("stream %s: its source hangs; its thread was left behind", stream)
        return supervisors.keys() == ended

    def _check_room(self, stream: str) -> None:
        if self._closed:
            raise RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down")
        entry = self._entries.get(stream)
        if entry is not None:
            hint = "it is being removed; try again" if entry.closing else "choose another name"
            raise RequestError(ErrorCode.STREAM_EXISTS, f"there is a stream {stream} already", hint)
        if len(self._entries) >= self._limits.streams:
            raise RequestError(
                ErrorCode.LIMIT,
                f"there are {len(self._entries)} streams, as many as are allowed",
                "remove one, or raise limits.streams in the daemon's configuration",
            )

    def _check_threads(self) -> None:
        """Refuse a stream whose threads, or those of streams yet to run, the system would not give.

        Who takes the last one stops the others: a source that fails then cannot be opened again,
        nor a stream removed.
        """
        states = [entry.supervisor.status().state for entry in self._entries.values()]
        pending = sum(state is not StreamState.RUNNING for state in states)
        a_stream = 2 + 2 * ffmpeg_threads()
        if not can_start(_OWN_THREADS + (1 + min(pending, _MOST_PENDING)) * a_stream):
            raise _no_thread()

    def _entry(self, stream: str) -> _Entry:
        entry = self._entries.get(stream)
        if entry is None or entry.closing:
            known = ", ".join(name for name, e in self._entries.items() if not e.closing)
            raise RequestError(
                ErrorCode.UNKNOWN_STREAM,
                f"there is no stream {stream}",
                f"there are {known}" if known else "add it first",
            )
        return entry

    def _remove(self, stream: str, entry: _Entry, gone: "Future[None]") -> None:
        """Take a stream apart, from its source on; in a thread that may wait."""
        try:
            if not entry.supervisor.stop(self._close_timeout_s):
                _LOG.error("stream %s: its source hangs; its thread was left behind", stream)
            try:
                self._scheduler.remove(entry.slot)
            finally:
                with self._lock:
                    self._numbering.retire(entry.numbers.next)
                    self._removed.append(entry.supervisor)
                    self._forget(stream)
            _LOG.info("stream %s removed", stream)
            self._on_change()
        except Exception as err:
            gone.set_exception(err)
        else:
            gone.set_result(None)

    def _forget(self, stream: str) -> None:
        del self._entries[stream]
        self._emit(stream, EventName.STREAM_REMOVED)
        self._publisher.forget(stream)

    def _source_event(self, event: Event) -> None:
        """Pass on how a source is; a supervisor calls it, so it must not wait."""
        self._publisher.event(event)
        # Without the lock, for which a supervisor may not wait: who has it may wait for this one.
        entry = self._entries.get(event.stream)
        if entry is not None:
            self._scheduler.silence(entry.slot, _why_silent(event))

    def _emit(self, stream: str, name: EventName, text: str = "") -> None:
        self._publisher.event(Event(stream, name, time.time_ns(), text=text))


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


def _checked_address(settings: StreamSettings, policy: SourcePolicy | None) -> str:
    """The address for people, if it is one, takes its options and may be opened.

    Raises:
        RequestError: `BAD_SOURCE`.
    """
    try:
        address = parse_address(settings.url, settings.options)
        if policy is not None:
            policy.check(address)
        return address.shown
    except StreamError as err:
        raise RequestError(ErrorCode.BAD_SOURCE, err.message, err.hint) from err
