"""Life cycle of the daemon: start, serve, drain, end."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, Literal

import zmq

from tracker.daemon.access.authenticator import Authenticator
from tracker.daemon.access.curve import CurveAuthenticator
from tracker.daemon.access.local_users import LocalUserAuthenticator
from tracker.daemon.access.permissions import Permissions
from tracker.daemon.config.load import listeners
from tracker.daemon.config.reload import compare
from tracker.daemon.config.schema import DaemonConfig
from tracker.daemon.control.operations import Operations
from tracker.daemon.control.socket import READ_FACTOR, Control
from tracker.daemon.descriptors import connections_to_a_socket, raise_limit
from tracker.daemon.lifetime import Lifetime
from tracker.daemon.messages import RequestError
from tracker.daemon.notify.notifier import Notifier
from tracker.daemon.publish.publisher import Publisher
from tracker.daemon.record.check import record_roots
from tracker.daemon.record.messages import MessageRecorder
from tracker.daemon.sources.client_sources import ports_of, source_policy
from tracker.daemon.state.moment import Moment
from tracker.daemon.state.saver import Saver
from tracker.daemon.state.state_file import SavedState
from tracker.daemon.state.store import Store, StreamSnapshots
from tracker.daemon.streams import Streams
from tracker.daemon.telemetry.collect import collect_streams
from tracker.daemon.telemetry.health import TRACKER_BUSY_S, Health, PartStatus, examine
from tracker.daemon.telemetry.http import HttpServer
from tracker.daemon.telemetry.log_writer import dropped_lines
from tracker.daemon.telemetry.logs import setup_logs
from tracker.daemon.telemetry.metrics import build_registry
from tracker.daemon.telemetry.status import DaemonStatus
from tracker.daemon.telemetry.systemd import notify
from tracker.daemon.tracking.frame_numbers import Numbering
from tracker.daemon.workers.model_info import ModelInfo
from tracker.daemon.workers.pool import WorkerPool
from tracker.daemon.workers.start import start_workers
from tracker.errors import TrackdError
from tracker.protocol.data import EventName

_LOG = logging.getLogger("trackd.server")
_TICK_S = 1.0
_SILENT_S = 10.0  # without a tick the daemon's own thread hangs
# Of the time for the end: by when sources should be closed, the state saved, events sent.
_SOURCES_SHARE, _SAVING_SHARE, _NOTIFYING_SHARE = 0.5, 0.75, 0.9
_LEAST_S = 0.2


class ServerSignal(Enum):
    """Signals to the daemon, from the system and from requests."""

    DRAIN = auto()
    RELOAD = auto()


@dataclass(frozen=True, slots=True)
class _Parts:
    """Parts of a running daemon."""

    model: ModelInfo
    publisher: Publisher
    notifier: Notifier
    workers: WorkerPool
    streams: Streams
    control: Control
    saver: Saver | None
    recorder: MessageRecorder


class Server:
    """One daemon.

    It lives in a thread of its own, so that the main thread takes signals and keeps the time while
    a disk, a model or a source hangs.

    Args:
        config: What to serve.
        read_config: Reads the configuration again, for `ServerSignal.RELOAD`; raises TrackdError.
        version: Of trackd.
        ignore_unreadable_state: Start without the streams of a state that cannot be understood.
    """

    def __init__(
        self,
        config: DaemonConfig,
        read_config: Callable[[], DaemonConfig],
        version: str,
        *,
        ignore_unreadable_state: bool = False,
    ) -> None:
        self._config = config
        self._read_config = read_config
        self._version = version
        self._ignore_unreadable_state = ignore_unreadable_state
        self._started_s = time.monotonic()
        # A simple queue: a signal handler may put into it at any moment.
        self._wishes: queue.SimpleQueue[ServerSignal | Callable[[], None]] = queue.SimpleQueue()
        self._lifetime = Lifetime(config.drain_timeout_s)
        self._phase: Literal["starting", "serving", "draining"] = "starting"
        self._health = Health()
        self._ticked_s = 0.0
        self._unsaved = ""
        self._store: Store | None = None
        self._saver: Saver | None = None
        self._parts: _Parts | None = None
        self._own_ports = {config.http.port} | ports_of(*listeners(config).values())

    def wish(self, wish: ServerSignal) -> None:
        """Ask for something; from a signal handler or from any thread."""
        self._wishes.put(wish)
        if wish is ServerSignal.DRAIN:
            self._lifetime.begin_end()

    def run(self) -> int:
        """Serve until `ServerSignal.DRAIN`; then end within `drain_timeout_s`, whatever hangs.

        Returns:
            The exit code: 0, or 1 where not everything was saved. Something may hang and still run,
            so that only `os._exit` is sure to end the process.

        Raises:
            TrackdError: Something is missing, wrong, or in use.
        """
        if not self._lifetime.run(self._live):
            _LOG.error("not everything ended within %g s", self._config.drain_timeout_s)
        return int(bool(self._unsaved))

    def _live(self) -> None:
        with ExitStack() as undo:
            try:
                self._serve(undo)
            finally:
                self._lifetime.begin_end()

    def _serve(self, undo: ExitStack) -> None:
        self._start(undo)
        notify("READY=1")
        self._loop()
        _LOG.info("draining, for at most %g s", self._config.drain_timeout_s)
        notify("STOPPING=1")
        self._phase = "draining"
        hanging = self._drain()
        if hanging:
            undo.pop_all()  # it would wait for them
            _LOG.error("not everything ended; left behind: %s", ", ".join(hanging))
        else:
            _LOG.info("ended")

    def status(self) -> DaemonStatus:
        """Current status of everything; from any thread."""
        uptime_s = time.monotonic() - self._started_s
        name, device = self._config.model.name, self._config.model.device
        parts = self._parts
        if parts is None:
            return DaemonStatus(True, False, uptime_s, self._version, name, device)
        workers = parts.workers.statuses()
        return DaemonStatus(
            healthy=all(worker.healthy for worker in workers),
            ready=self._ready(),
            uptime_s=uptime_s,
            version=self._version,
            model=name,
            device=parts.model.device,
            streams=collect_streams(parts.streams, parts.publisher),
            data=parts.publisher.status(),
            control=parts.control.status(),
            busy_s=max(worker.busy_s for worker in workers),
            saving=None if parts.saver is None else parts.saver.status(),
            log_dropped=dropped_lines(),
            abandoned_threads=sum(worker.abandoned_threads for worker in workers),
            workers=workers,
            sinks=parts.notifier.statuses(),
        )

    def faults(self) -> Sequence[str]:
        """Faults that a restart may fix; from any thread, never waits."""
        silent_s = time.monotonic() - self._ticked_s
        if self._ready() and silent_s > _SILENT_S:
            return [f"server: no sign of life for {silent_s:.0f} s"]
        return self._health.faults

    def gaps(self) -> Sequence[str]:
        """The reason that it is not ready; from any thread, never waits."""
        if not self._ready():
            return [f"it is {self._phase}"]
        return self.faults() or self._health.gaps

    def _ready(self) -> bool:
        return self._phase == "serving"

    def _start(self, undo: ExitStack) -> None:
        """Make everything, each part after those that it needs; the slow model comes late.

        Keys, the state folder and the HTTP port are wrong at once or not at all.
        """
        config = self._config
        authenticator = _authenticator(config)
        if config.state.dir is not None:
            self._store = Store(config.state)
            undo.callback(self._store.close)
        self._serve_http(undo)
        context: zmq.Context[Any] = zmq.Context()
        undo.callback(context.term)
        authenticator.start(context)
        undo.callback(authenticator.stop)
        numbering = Numbering(keeps=self._store is not None, on_low=self._keep)
        recorder = MessageRecorder()
        undo.callback(recorder.stop, 1.0)
        publisher = Publisher(config.data, authenticator, context=context, epoch=numbering.epoch)
        publisher.on_sent = recorder.sent
        notifier = Notifier.from_config(config.notify, lambda: self._own_ports)
        publisher.on_event = notifier.put
        publisher.start()
        undo.callback(publisher.stop, 1.0)
        notifier.start()
        undo.callback(notifier.stop, 1.0)
        model, workers = start_workers(
            config,
            publisher,
            undo,
            epoch=numbering.epoch,
            own_ports=lambda: self._own_ports,
            on_note=recorder.note,
        )
        streams = self._make_streams(workers, publisher, numbering, recorder)
        publisher.on_wanted = streams.want
        undo.callback(streams.close_all, 1.0)
        if self._store is not None:
            every_s, tell = config.state.every_s, partial(_emit_saving, streams)
            self._saver = Saver(self._store, streams, every_s=every_s, on_change=tell)
        self._open_streams(workers, streams, numbering)
        if self._saver is not None:
            self._saver.start()
        control = self._listen(undo, context, authenticator, model, workers.why, publisher, streams)
        self._own_ports |= ports_of(control.endpoint, publisher.endpoint, publisher.latest_endpoint)
        self._parts = _Parts(
            model, publisher, notifier, workers, streams, control, self._saver, recorder
        )
        self._tick()
        self._unsaved = "" if self._saver is None else "it hung before"
        self._phase = "serving"
        endpoints = f"control {control.endpoint}, data {publisher.endpoint}"
        if publisher.latest_endpoint:
            endpoints += f", latest {publisher.latest_endpoint}"
        _LOG.info("ready: %s", endpoints)

    def _make_streams(
        self,
        workers: WorkerPool,
        publisher: Publisher,
        numbering: Numbering,
        recorder: MessageRecorder,
    ) -> Streams:
        return Streams(
            workers,
            publisher,
            self._config.limits,
            on_change=self._keep,
            numbering=numbering,
            policy=source_policy(self._config.security, lambda: self._own_ports),
            recorder=recorder,
            record_roots=record_roots(self._config.security),
        )

    def _serve_http(self, undo: ExitStack) -> None:
        if self._config.http.port == 0:
            return
        registry = build_registry(self.status)
        http = HttpServer(
            self._config.http.host,
            self._config.http.port,
            registry,
            health=self.faults,
            readiness=self.gaps,
        )
        http.start()
        undo.callback(http.stop)

    def _listen(
        self,
        undo: ExitStack,
        context: zmq.Context[Any],
        authenticator: Authenticator,
        model: ModelInfo,
        workers: str,
        publisher: Publisher,
        streams: Streams,
    ) -> Control:
        config, snapshots, keep = self._config, None, None
        if self._store is not None and self._saver is not None:
            keep = self._saver.keep
            snapshots = StreamSnapshots(self._store, streams, keep_list=keep)
        operations = Operations(
            streams=streams,
            snapshots=snapshots,
            keep=keep,
            model=model,
            workers=workers,
            version=self._version,
            limits=config.limits,
            control=config.control,
            ready=self._ready,
            stream_statuses=partial(collect_streams, streams, publisher),
            status=self.status,
            shut_down=lambda: self.wish(ServerSignal.DRAIN),
        )
        control = Control(
            config.control,
            config.limits,
            authenticator,
            context=context,
            handle=operations.handle,
            permissions=Permissions(),
        )
        control.start()
        undo.callback(control.stop, 1.0)
        return control

    def _open_streams(self, workers: WorkerPool, streams: Streams, numbering: Numbering) -> None:
        """Open what the configuration names and what was there before, objects included."""
        saved = None if self._store is None else self._load(self._store)
        before = {} if saved is None else dict(saved.streams)
        numbering.retire(0 if saved is None else saved.first_seq)
        added = {name: kept.settings for name, kept in before.items() if not kept.configured}
        wanted = added | self._config.streams
        workers.prepare(len(wanted))
        opened = []
        for name, settings in wanted.items():
            kept = before.get(name)
            first_seq = None if kept is None else kept.next_seq
            try:
                # Objects first: not one frame is to pass without them.
                configured = name in self._config.streams
                streams.add(
                    name,
                    settings,
                    paused=True,
                    first_seq=first_seq,
                    configured=configured,
                    owner_epoch=0 if kept is None else kept.owner_epoch,
                )
                if self._store is not None and kept is not None:
                    restored = self._store.restore(name, streams, Moment.now())
                    _LOG.info("stream %s: %s", name, restored.text)
                opened.append(name)
            except RequestError as err:
                _LOG.error("stream %s was not opened: %s", name, err)
        for name in before.keys() - set(opened):
            numbering.retire(before[name].next_seq)
        if self._saver is not None:
            self._saver.save_list()  # reserves numbers for the frames
        for name in opened:
            if name not in before or not before[name].paused:
                try:
                    streams.resume(name)
                except RequestError as err:
                    _LOG.error("stream %s was not opened: %s", name, err)

    def _load(self, store: Store) -> SavedState | None:
        return store.load(ignore_unreadable=self._ignore_unreadable_state)

    def _keep(self) -> None:
        if self._saver is not None:
            self._saver.keep()

    def _loop(self) -> None:
        while True:
            try:
                wish = self._wishes.get(timeout=_TICK_S)
            except queue.Empty:
                pass
            else:
                if wish is ServerSignal.DRAIN:
                    return
                if wish is ServerSignal.RELOAD:
                    self._read_again()
                elif callable(wish):
                    wish()
            self._tick()

    def _tick(self) -> None:
        """Check how all is, and report to the service manager that it is well."""
        assert self._parts is not None
        parts, saving = self._parts, None
        if parts.saver is not None:
            parts.saver.check()
            saving = parts.saver.status()
        data, control = parts.publisher.status(), parts.control.status()
        threads = [
            *(
                PartStatus(f"worker {one.name}", one.healthy, one.busy_s, TRACKER_BUSY_S)
                for one in parts.workers.statuses()
            ),
            PartStatus("data", data.healthy, data.busy_s),
            PartStatus("control", control.healthy, control.busy_s),
        ]
        self._health = examine(threads, parts.streams.sources(), saving)
        self._ticked_s = time.monotonic()
        if not self._health.faults:
            notify("WATCHDOG=1")

    def _read_again(self) -> None:
        """Read the configuration in a thread of its own, since its disk may hang."""

        def read() -> None:
            try:
                config = self._read_config()
            except TrackdError as err:
                _LOG.error("the configuration was not read again: %s", err)
            else:
                self._wishes.put(partial(self._take_in, config))

        try:
            threading.Thread(target=read, name="reload", daemon=True).start()
        except RuntimeError as err:
            _LOG.error("the configuration was not read again: %s", err)

    def _take_in(self, config: DaemonConfig) -> None:
        """Do what changed in the configuration; streams that go are not waited for."""
        assert self._parts is not None
        changes = compare(self._config, config)
        _LOG.info("the configuration was read again: %s", changes)
        setup_logs(config.log)
        live = {"log": config.log, "streams": config.streams}
        self._config = self._config.model_copy(update=live)
        for name in (*changes.removed, *changes.changed):
            try:
                gone = self._parts.streams.remove(name)
            except RequestError as err:
                _LOG.warning("stream %s was not removed: %s", name, err)
            else:
                add = partial(self._add, name)
                gone.add_done_callback(lambda _, add=add: self._wishes.put(add))  # type: ignore[misc]
        for name in changes.added:
            self._add(name)
        for name, settings in changes.rezoned.items():
            try:
                self._parts.streams.set_zones(name, settings.zones)
            except RequestError as err:
                _LOG.warning("the zones of stream %s were not set: %s", name, err)

    def _add(self, name: str) -> None:
        """Open a stream as the configuration now has it, if it does."""
        assert self._parts is not None
        settings = self._config.streams.get(name)
        if settings is None:
            return
        try:
            self._parts.streams.add(name, settings, configured=True)
        except RequestError as err:
            _LOG.error("stream %s was not opened: %s", name, err)

    def _drain(self) -> tuple[str, ...]:
        """Take no more, save, and let everything end; returns what hangs and is left behind."""
        assert self._parts is not None
        parts = self._parts
        parts.streams.let_go()
        if parts.saver is not None:
            self._unsaved = parts.saver.finish(self._lifetime.left_s(_SAVING_SHARE))
            if self._unsaved:
                _LOG.error("not everything was saved: %s", self._unsaved)
        ends: list[tuple[str, Callable[[float], bool], float]] = [
            ("a source", parts.streams.close_all, _SOURCES_SHARE),
            ("a worker", parts.workers.stop, 1.0),
            ("control", parts.control.stop, 1.0),
            ("data", parts.publisher.stop, 1.0),
            ("notify", parts.notifier.stop, _NOTIFYING_SHARE),
            ("recording", parts.recorder.stop, 1.0),
        ]
        return tuple(
            name
            for name, end, share in ends
            if not end(max(_LEAST_S, self._lifetime.left_s(share)))
        )


def _authenticator(config: DaemonConfig) -> Authenticator:
    """Authenticator that lets in clients with keys, or without keys some users of this machine.

    Raises:
        UsageError: Keys are missing or wrong, or there is no such user.
    """
    most = connections_to_a_socket(config.limits.connections, raise_limit())
    security = CurveAuthenticator.from_config(
        config.security, list(listeners(config).values()), most
    )
    authenticator = (
        LocalUserAuthenticator(config.security.allow_users, most) if security is None else security
    )
    largest = READ_FACTOR * config.control.max_message_bytes
    authenticator.most_unread_bytes = max(config.limits.unread_bytes, 2 * largest)
    authenticator.most_unsent_bytes = config.limits.unsent_bytes
    return authenticator


def _emit_saving(streams: Streams, problem: str) -> None:
    streams.emit_all(EventName.STATE_UNSAVED if problem else EventName.STATE_SAVED, problem)
