"""Registry of streams: the only owner of what streams there are."""

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from streams.access.policy import SourcePolicy
from streams.address import parse_address
from streams.errors import StreamError
from tracker.daemon.config.schema import LimitsConfig
from tracker.daemon.control.asking import ASKING
from tracker.daemon.finding.choice import choose_finder
from tracker.daemon.futures import after
from tracker.daemon.messages import (
    Command,
    Event,
    ListCommand,
    RequestError,
    RestoreCommand,
    SaveCommand,
    SetZonesCommand,
)
from tracker.daemon.publish.publisher import Publisher
from tracker.daemon.record.check import check_recording
from tracker.daemon.record.messages import MessageRecorder
from tracker.daemon.sources.frame_rate_limiter import check_deadline
from tracker.daemon.telemetry.status import MessagesRecordingStatus, SourceStatus, TrackingStatus
from tracker.daemon.tracking.frame_numbers import RESERVED, FrameNumbers, Numbering
from tracker.daemon.tracking.stream_tracker import CommandResult
from tracker.daemon.workers.base import Worker
from tracker.daemon.workers.pool import WorkerPool
from tracker.errors import UsageError
from tracker.protocol.data import EventName, Topic
from tracker.protocol.fields import MAX_ZONES, StreamSettings, ZoneSettings
from tracker.protocol.replies import ErrorCode, ZoneInfo

_LOG = logging.getLogger("trackd.streams")


@dataclass(slots=True)
class _Entry:
    """A stream that there is.

    Attributes:
        closing: It is being removed.
        moving: Its objects while it goes from one worker to another; None else.
        previews: That are wanted.
        recording: It was asked for, or refused; None where the settings say.
        owner_epoch: As `stream.add` gave it.
    """

    settings: StreamSettings
    worker: Worker
    paused: bool
    numbers: FrameNumbers
    configured: bool
    closing: bool = False
    moving: TrackingStatus | None = None
    previews: frozenset[Topic] = frozenset()
    recording: bool | None = None
    owner_epoch: int = 0

    @property
    def current_settings(self) -> StreamSettings:
        """The settings, recorded as it was asked for since."""
        on = self.recording
        return self.settings if on is None else self.settings.recorded(on=on)


@dataclass(frozen=True, slots=True)
class KeptStream:
    """Record from which a stream is opened again after a restart.

    Attributes:
        settings: Its source; holds credentials.
        paused: It was not to run.
        next_seq: Number of its first frame then; a stream that runs gives out none so high.
        configured: The configuration names it.
        owner_epoch: As `stream.add` gave it.
    """

    settings: StreamSettings
    paused: bool
    next_seq: int
    configured: bool = False
    owner_epoch: int = 0


class Streams:
    """Adds, removes, pauses and resumes streams; from any thread, and without waiting for sources.

    Args:
        workers: Read and track them.
        publisher: Sends what happens to them.
        limits: How many there may be.
        on_change: Called after a stream came, went, was paused or resumed; must not wait.
        numbering: Numbers their frames.
        policy: What may be opened for clients, and is not asked about what the configuration
            names; None for all.
        recorder: Records what is sent of them.
        record_roots: Folders that clients may have recorded to; None for all.
    """

    def __init__(
        self,
        workers: WorkerPool,
        publisher: Publisher,
        limits: LimitsConfig,
        *,
        on_change: Callable[[], object] = lambda: None,
        numbering: Numbering | None = None,
        policy: SourcePolicy | None = None,
        recorder: MessageRecorder | None = None,
        record_roots: Sequence[Path] | None = None,
    ) -> None:
        self._recorder = recorder or MessageRecorder()
        self._record_roots = record_roots
        self._workers = workers
        self._publisher = publisher
        self._limits = limits
        self._on_change = on_change
        self._numbering = numbering or Numbering()
        self._policy = policy
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        self._closed = False

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
        owner_epoch: int = 0,
    ) -> None:
        """Open a source and track on it from now on.

        Args:
            stream: A name that no stream has.
            settings: The source.
            paused: Do not open it before `resume`.
            first_seq: Number of its first frame; None for one that no stream of its name had.
            configured: The configuration names it.
            owner_epoch: Sent with each of its messages.

        Raises:
            RequestError: `BAD_SOURCE`, `BAD_REQUEST` (deadline, finder, record), `STREAM_EXISTS`,
                `OLD_OWNER`, `LIMIT` (of streams, or of threads) or `SHUTTING_DOWN`. Nothing is left
                behind then.
        """
        shown = _checked_address(settings, None if configured else self._policy)
        try:
            check_deadline(settings)
            if settings.find is not None:
                choose_finder(settings.find, trusted=configured)
            check_recording(settings, None if configured else self._record_roots)
        except UsageError as err:
            raise RequestError(ErrorCode.BAD_REQUEST, err.message, err.hint) from err
        with self._lock:
            self._check_room(stream, owner_epoch)
            numbers = self._numbering.start(stream, first_seq)
            worker = self._workers.for_stream(self._counts())
            if not paused:
                worker.check_room()
            self._entries[stream] = _Entry(
                settings, worker, paused, numbers, configured, owner_epoch=owner_epoch
            )
            self._publisher.own(stream, owner_epoch)
            self._emit(stream, EventName.STREAM_ADDED, shown)
            try:
                self._recorder.add(stream, settings.record)
                worker.add(stream, settings, numbers, paused=paused, trusted=configured)
            except RequestError:
                self._forget(stream)
                raise
        _LOG.info("stream %s added: %s", stream, shown)
        self._on_change()

    def remove(self, stream: str, *, below: int | None = None) -> "Future[None]":
        """Close a source and forget its objects; the future is done when that is done.

        Args:
            stream: Its name.
            below: Only where its owner's epoch is lower; None for any.

        Raises:
            RequestError: `UNKNOWN_STREAM`, `OLD_OWNER`, or `LIMIT` of threads; then it stays.
        """
        gone: Future[None] = Future()
        gone.set_running_or_notify_cancel()
        with self._lock:
            entry = self._entry(stream)
            if below is not None and entry.owner_epoch >= below:
                raise _old_owner(stream, entry.owner_epoch, below)
            left = entry.worker.remove(stream)
            entry.closing = True  # it still counts
        left.add_done_callback(partial(self._removed, stream, entry, gone))
        return gone

    def pause(self, stream: str) -> None:
        """Close a source and keep its objects; does nothing to a paused one.

        Raises:
            RequestError: `UNKNOWN_STREAM`.
        """
        with self._lock:
            entry = self._entry(stream)
            entry.paused = True
            entry.worker.pause(stream)
        self._on_change()

    def resume(self, stream: str) -> None:
        """Open a paused source again, or retry a failing one now.

        Raises:
            RequestError: `UNKNOWN_STREAM`, or `LIMIT` of threads.
        """
        with self._lock:
            entry = self._entry(stream)
            entry.paused = False
            entry.worker.resume(stream)
        self._on_change()

    def record(self, stream: str, *, on: bool) -> None:
        """Record a stream's packets and messages from now on, or stop.

        Raises:
            RequestError: `UNKNOWN_STREAM`, or `BAD_REQUEST`: it has no settings for it.
        """
        with self._lock:
            entry = self._entry(stream)
            if entry.settings.record is None:
                text = f"stream {stream} has no settings for recording"
                hint = "add it with record: {dir: FOLDER}"
                raise RequestError(ErrorCode.BAD_REQUEST, text, hint)
            entry.worker.record(stream, on=on)
            entry.recording = on

    def move(self, stream: str, worker: str) -> "Future[CommandResult]":
        """Let another worker go on with a stream; the result lists its objects.

        Its worker saves them, and sends nothing of it afterwards; then it is removed there, and
        added and restored where it goes. Meanwhile requests for it are refused.

        Raises:
            RequestError: `UNKNOWN_STREAM`, `BAD_REQUEST` where there is no such worker, or `BUSY`.
        """
        with self._lock:
            entry, to = self._entry(stream), self._workers.named(worker)
            if to is entry.worker:
                return to.submit(stream, ListCommand())
            saved = entry.worker.submit(stream, SaveCommand(last=True))
            entry.moving = entry.worker.tracking(stream)
        moved = after(saved, lambda data: self._hand_over(stream, entry, to, data))
        moved.add_done_callback(lambda _: self._end_move(stream, entry))
        return moved

    def _hand_over(
        self, stream: str, entry: _Entry, to: Worker, data: CommandResult
    ) -> "Future[CommandResult]":
        """Take a stream from its worker, which saved it, and give it to another."""
        with self._lock:
            entry.moving = entry.worker.tracking(stream)  # as saved
            left = entry.worker.remove(stream)
        return after(left, lambda _: self._take_over(stream, entry, to, data))

    def _take_over(
        self, stream: str, entry: _Entry, to: Worker, data: CommandResult
    ) -> "Future[CommandResult]":
        with self._lock:
            assert entry.moving is not None and isinstance(data, bytes)
            objects = tuple((obj.id, obj.label) for obj in entry.moving.objects)
            found = tuple(obj.id for obj in entry.moving.objects if obj.found)
            next_id = entry.moving.next_object_id
            settings = entry.current_settings
            to.add(stream, settings, entry.numbers, paused=True, trusted=entry.configured)
            entry.worker = to
            to.want(stream, entry.previews)
        path = Path(f"of stream {stream}")
        return to.submit(stream, RestoreCommand(path, False, objects, next_id, data, found))

    def _end_move(self, stream: str, entry: _Entry) -> None:
        """Open the source, wherever the stream now is."""
        with self._lock:
            entry.moving = None
            if not (entry.paused or self._closed):
                with contextlib.suppress(RequestError):
                    entry.worker.resume(stream)
        _LOG.info("stream %s is with worker %s", stream, entry.worker.name)

    def submit(self, stream: str, command: Command) -> "Future[CommandResult]":
        """Queue a command for the objects of a stream: see `Worker.submit`.

        Raises:
            RequestError: `UNKNOWN_STREAM`, `BUSY` or `SHUTTING_DOWN`.
        """
        with self._lock:
            worker = self._entry(stream).worker
        return worker.submit(stream, command)

    def set_zone(
        self, stream: str, zone: str, settings: ZoneSettings | None
    ) -> "Future[CommandResult]":
        """Set a zone of a stream, or remove it for None; the future is done when it is watched.

        Raises:
            RequestError: `UNKNOWN_STREAM`, `UNKNOWN_ZONE`, `LIMIT` of zones, or as `submit`.
        """
        with self._lock:
            zones = dict(self._entry(stream).settings.zones)
            if settings is None:
                if zones.pop(zone, None) is None:
                    raise _unknown_zone(stream, zone, zones)
            else:
                zones[zone] = settings
            if len(zones) > MAX_ZONES:
                text = f"stream {stream} has {MAX_ZONES} zones, as many as are allowed"
                raise RequestError(ErrorCode.LIMIT, text, "remove one")
            return self.set_zones(stream, zones)

    def set_zones(self, stream: str, zones: Mapping[str, ZoneSettings]) -> "Future[CommandResult]":
        """Watch these zones of a stream in place of those before; those that stay go on."""
        with self._lock:
            entry = self._entry(stream)
            asking = ASKING.set(b"")  # of one client they stay in their order, whoever asks
            try:
                done = entry.worker.submit(stream, SetZonesCommand(zones))
            finally:
                ASKING.reset(asking)
            entry.settings = entry.settings.model_copy(update={"zones": dict(zones)})
        self._on_change()
        return done

    def zones(self, stream: str) -> list[ZoneInfo]:
        """Zones of a stream, and their counts.

        Raises:
            RequestError: `UNKNOWN_STREAM`.
        """
        counts = {one.zone: one for one in self.tracking(stream).zones}
        with self._lock:
            zones = self._entry(stream).settings.zones
        return [
            ZoneInfo(zone=name, settings=settings, counts=counts.get(name))
            for name, settings in zones.items()
        ]

    def is_configured(self, stream: str) -> bool:
        """True if the configuration names a stream."""
        with self._lock:
            return self._entry(stream).configured

    def tracking(self, stream: str) -> TrackingStatus:
        """Status of a stream's objects.

        Raises:
            RequestError: `UNKNOWN_STREAM`.
        """
        with self._lock:
            entry = self._entries.get(stream)
            if entry is not None and entry.moving is not None:
                return entry.moving
            worker = self._entry(stream).worker
        return worker.tracking(stream)

    def want(self, stream: str, topics: frozenset[Topic]) -> None:
        """Have these previews of a stream made from now on; must not wait."""
        with self._lock:
            entry = self._entries.get(stream)
            if entry is not None:
                entry.previews = topics
                entry.worker.want(stream, topics)

    def settings(self) -> dict[str, StreamSettings]:
        """Settings of each stream, in the order in which they were added."""
        with self._lock:
            return {name: entry.settings for name, entry in self._entries.items()}

    def sources(self) -> dict[str, SourceStatus]:
        """Status of each source."""
        with self._lock:
            owners = {name: entry.worker for name, entry in self._entries.items()}
        found = {}
        for name, worker in owners.items():
            with contextlib.suppress(RequestError):  # it goes just now
                found[name] = worker.source(name)
        return found

    def owner_epochs(self) -> dict[str, int]:
        """Epoch of the owner of each stream."""
        with self._lock:
            return {name: entry.owner_epoch for name, entry in self._entries.items()}

    def workers(self) -> dict[str, str]:
        """Name of the worker of each stream."""
        with self._lock:
            return {name: entry.worker.name for name, entry in self._entries.items()}

    def recorded(self, stream: str) -> MessagesRecordingStatus | None:
        """Status of the recording of what is sent of a stream; None where it is not recorded."""
        return self._recorder.status(stream)

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
                    entry.owner_epoch,
                )
                for name, entry in self._entries.items()
                if not entry.closing
            }

    def let_go(self) -> None:
        """Take no more streams and no more frames; does not wait for the sources to close."""
        with self._lock:
            self._closed = True
        self._workers.let_go()

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
        return self._workers.close_sources(timeout_s)

    def _counts(self) -> Counter[str]:
        return Counter(entry.worker.name for entry in self._entries.values())

    def _check_room(self, stream: str, owner_epoch: int) -> None:
        if self._closed:
            raise RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down")
        entry = self._entries.get(stream)
        if entry is not None and owner_epoch < entry.owner_epoch:
            raise _old_owner(stream, entry.owner_epoch, owner_epoch)
        if entry is not None:
            hint = "it is being removed; try again" if entry.closing else "choose another name"
            raise RequestError(ErrorCode.STREAM_EXISTS, f"there is a stream {stream} already", hint)
        if len(self._entries) >= self._limits.streams:
            raise RequestError(
                ErrorCode.LIMIT,
                f"there are {len(self._entries)} streams, as many as are allowed",
                "remove one, or raise limits.streams in the daemon's configuration",
            )

    def _entry(self, stream: str) -> _Entry:
        entry = self._entries.get(stream)
        if entry is None or entry.closing:
            known = ", ".join(name for name, e in self._entries.items() if not e.closing)
            raise RequestError(
                ErrorCode.UNKNOWN_STREAM,
                f"there is no stream {stream}",
                f"there are {known}" if known else "add it first",
            )
        if entry.moving is not None:
            raise RequestError(
                ErrorCode.BUSY, f"stream {stream} is being moved", "try again in a moment"
            )
        return entry

    def _removed(
        self, stream: str, entry: _Entry, gone: "Future[None]", left: "Future[None]"
    ) -> None:
        """Forget a stream that its worker does not have any more; it stays where that has it."""
        error = left.exception()
        if error is not None:
            with self._lock:
                entry.closing = False
            _LOG.error("stream %s was not removed: %s", stream, error)
            self._on_change()
            gone.set_exception(error)
            return
        with self._lock:
            self._numbering.retire(entry.numbers.next)
            self._forget(stream)
        _LOG.info("stream %s removed", stream)
        self._on_change()
        gone.set_result(None)

    def _forget(self, stream: str) -> None:
        del self._entries[stream]
        self._emit(stream, EventName.STREAM_REMOVED)
        self._publisher.forget(stream)
        self._recorder.remove(stream)

    def _emit(self, stream: str, name: EventName, text: str = "") -> None:
        self._publisher.event(Event(stream, name, time.time_ns(), text=text))


def _old_owner(stream: str, here: int, asked: int) -> RequestError:
    text = f"stream {stream} has the owner epoch {here} here, the request {asked}"
    return RequestError(ErrorCode.OLD_OWNER, text, "ask the fleet who owns it")


def _unknown_zone(stream: str, zone: str, known: Mapping[str, ZoneSettings]) -> RequestError:
    text = f"stream {stream} has no zone {zone}"
    hint = f"there are {', '.join(known)}" if known else "it has none"
    return RequestError(ErrorCode.UNKNOWN_ZONE, text, hint)


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
