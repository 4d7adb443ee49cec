"""The daemon's life: start, serve, drain, end."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

import numpy as np
import zmq

from tracker.daemon.config import DaemonConfig, ModelConfig
from tracker.daemon.control import Control
from tracker.daemon.curve import Security
from tracker.daemon.dispatch import Dispatch
from tracker.daemon.gather import data_status, stream_statuses
from tracker.daemon.http import HttpServer
from tracker.daemon.load_config import listeners
from tracker.daemon.logs import setup_logs
from tracker.daemon.metrics import build_registry
from tracker.daemon.notify import notify
from tracker.daemon.numbering import Numbering
from tracker.daemon.pipeline import Pipeline
from tracker.daemon.publisher import Publisher
from tracker.daemon.reload import compare
from tracker.daemon.status import DaemonStatus
from tracker.daemon.store import Store, StreamSnapshots
from tracker.daemon.streams import Streams
from tracker.daemon.values import Refused
from tracker.engine import POLICIES, Policy, Session
from tracker.errors import TrackdError
from tracker.models import Model, load_model
from tracker.protocol.replies import ErrorCode
from tracker.types import Prompt

_LOG = logging.getLogger("trackd.server")
_WARM_UP_FRAMES = 3
_SAVE_TIMEOUT_S = 30.0


class Wish(Enum):
    """What the daemon is asked to do by signals and requests."""

    DRAIN = auto()
    RELOAD = auto()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a running daemon is made of."""

    model: Model
    publisher: Publisher
    pipeline: Pipeline
    streams: Streams
    control: Control


class Server:
    """One daemon.

    Args:
        config: What to serve.
        read_config: Reads the configuration again, for `Wish.RELOAD`; raises TrackdError.
        version: Of trackd.
    """

    def __init__(
        self, config: DaemonConfig, read_config: Callable[[], DaemonConfig], version: str
    ) -> None:
        self._config = config
        self._read_config = read_config
        self._version = version
        self._started_s = time.monotonic()
        self._wishes: queue.SimpleQueue[Wish | Future[None]] = queue.SimpleQueue()
        self._keep_lock = threading.Lock()
        self._to_keep: Future[None] | None = None
        self._ready = threading.Event()
        self._store: Store | None = None
        self._security: Security | None = None
        self._parts: _Parts | None = None

    def wish(self, wish: Wish) -> None:
        """Ask for something; from a signal handler or from any thread."""
        self._wishes.put(wish)

    def run(self) -> None:
        """Serve until `Wish.DRAIN`; then drain and return.

        Raises:
            TrackdError: Something is missing, wrong, or in use.
        """
        with ExitStack() as undo:
            self._start(undo)
            notify("READY=1")
            self._loop()
            _LOG.info("draining, for at most %g s", self._config.drain_timeout_s)
            notify("STOPPING=1")
            self._ready.clear()
            self._drain()
        _LOG.info("ended")

    def status(self) -> DaemonStatus:
        """How everything is; from any thread."""
        uptime_s = time.monotonic() - self._started_s
        name, device = self._config.model.name, self._config.model.device
        parts = self._parts
        if parts is None:
            return DaemonStatus(True, False, uptime_s, self._version, name, device)
        return DaemonStatus(
            healthy=parts.pipeline.healthy,
            ready=self._ready.is_set(),
            uptime_s=uptime_s,
            version=self._version,
            model=name,
            device=str(parts.model.device),
            streams=stream_statuses(parts.streams, parts.publisher),
            data=data_status(parts.publisher),
            control=parts.control.status(),
        )

    def _start(self, undo: ExitStack) -> None:
        """Make everything, each part after those that it needs; the slow model comes late.

        Keys, the state folder and the HTTP port are wrong at once or not at all.
        """
        config = self._config
        addresses = list(listeners(config).values())
        self._security = security = Security.from_config(config.security, addresses)
        if config.state.dir is not None:
            self._store = Store(config.state)
            undo.callback(self._store.close)
        self._serve_http(undo)
        context: zmq.Context[Any] = zmq.Context()
        undo.callback(context.term)
        if security is not None:
            security.start(context)
            undo.callback(security.stop)
        publisher = Publisher(config.data, security, context=context)
        publisher.start()
        undo.callback(publisher.stop, 1.0)
        # In a thread that ends: OpenMP keeps workers for each thread that ever computed, and lets
        # all of them wait less well once there are more than processors.
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as loader:
            model, policy = loader.submit(self._load_model, config.model).result()
        pipeline = Pipeline(
            model,
            policy,
            commands_queued=config.limits.commands_queued,
            on_tracked=publisher.tracked,
            on_event=publisher.event,
        )
        pipeline.start()
        undo.callback(pipeline.stop, 1.0)
        numbering = Numbering(keeps=self._store is not None, on_low=self._keep)
        streams = Streams(
            pipeline,
            publisher,
            config.retry,
            config.limits,
            on_change=self._keep,
            numbering=numbering,
        )
        undo.callback(streams.close_all, 1.0)
        self._open_streams(streams, pipeline, numbering)
        control = self._listen(undo, context, model, pipeline, streams)
        self._parts = _Parts(model, publisher, pipeline, streams, control)
        self._ready.set()
        endpoints = f"control {control.endpoint}, data {publisher.endpoint}"
        if publisher.latest_endpoint:
            endpoints += f", latest {publisher.latest_endpoint}"
        _LOG.info("ready: %s", endpoints)

    def _serve_http(self, undo: ExitStack) -> None:
        if self._config.http.port == 0:
            return
        registry = build_registry(self.status)
        http = HttpServer(
            self._config.http.host,
            self._config.http.port,
            registry,
            healthy=lambda: self._parts is None or self._parts.pipeline.healthy,
            ready=self._ready.is_set,
        )
        http.start()
        undo.callback(http.stop)

    def _load_model(self, config: ModelConfig) -> tuple[Model, Policy]:
        """The network, loaded and run a few times, so that the first frames are not slow."""
        model = load_model(
            config.name, checkpoint=config.checkpoint, device=config.device, dtype=config.dtype
        )
        policy = replace(
            POLICIES[config.policy],
            max_objects=self._config.limits.objects_per_stream,
            history_frames=config.history_frames,
        )
        session = Session(model, policy)
        grey_hwc = np.full((480, 640, 3), 128, np.uint8)
        for frame in range(_WARM_UP_FRAMES):
            session.step(grey_hwc)
            if frame == 0:
                session.prompt(Prompt(1, box_xyxy=(160, 120, 480, 360)))
        _LOG.info("model %s is warm, on %s in %s", config.name, model.device, model.precision)
        return model, policy

    def _listen(
        self,
        undo: ExitStack,
        context: zmq.Context[Any],
        model: Model,
        pipeline: Pipeline,
        streams: Streams,
    ) -> Control:
        config, snapshots = self._config, None
        if self._store is not None:
            snapshots = StreamSnapshots(self._store, pipeline, keep_list=self._keep)
        dispatch = Dispatch(
            streams=streams,
            pipeline=pipeline,
            snapshots=snapshots,
            model=model,
            version=self._version,
            limits=config.limits,
            control=config.control,
            ready=self._ready.is_set,
            status=self.status,
            shut_down=lambda: self.wish(Wish.DRAIN),
        )
        control = Control(
            config.control, config.limits, self._security, context=context, handle=dispatch.handle
        )
        control.start()
        undo.callback(control.stop, 1.0)
        return control

    def _open_streams(self, streams: Streams, pipeline: Pipeline, numbering: Numbering) -> None:
        """Open what the configuration names and what was there before, objects included."""
        saved = None if self._store is None else self._store.load()
        before = {} if saved is None else dict(saved.streams)
        numbering.retire(0 if saved is None else saved.first_seq)
        added = {name: kept.settings for name, kept in before.items() if not kept.configured}
        wanted = added | self._config.streams
        opened = []
        for name, settings in wanted.items():
            kept = before.get(name)
            first_seq = None if kept is None else kept.next_seq
            try:
                # Objects first: not one frame is to pass without them.
                configured = name in self._config.streams
                streams.add(name, settings, paused=True, first_seq=first_seq, configured=configured)
                if self._store is not None and kept is not None:
                    restored = self._store.restore(name, pipeline, time.time())
                    _LOG.info("stream %s: %s", name, restored.text)
                opened.append(name)
            except Refused as err:
                _LOG.error("stream %s was not opened: %s", name, err)
        for name in before.keys() - set(opened):
            numbering.retire(before[name].next_seq)
        if self._store is not None:
            self._save_list(self._store, streams, pipeline)  # reserves numbers for the frames
        for name in opened:
            if name not in before or not before[name].paused:
                streams.resume(name)

    def _loop(self) -> None:
        next_save_s = time.monotonic() + self._config.state.every_s
        while True:
            wait_s = None if self._store is None else max(0.0, next_save_s - time.monotonic())
            try:
                wish = self._wishes.get(timeout=wait_s)
            except queue.Empty:
                self._save(_SAVE_TIMEOUT_S)
                next_save_s = time.monotonic() + self._config.state.every_s
                continue
            if wish is Wish.DRAIN:
                return
            if wish is Wish.RELOAD:
                self._reload()
            elif isinstance(wish, Future) and self._store is not None:
                self._keep_list(wish)

    def _save(self, timeout_s: float) -> None:
        assert self._store is not None and self._parts is not None
        streams, pipeline = self._parts.streams, self._parts.pipeline
        kept, first_seq = streams.kept(), streams.first_seq()
        try:
            failed = self._store.save(kept, pipeline, first_seq=first_seq, timeout_s=timeout_s)
        except TrackdError as err:
            _LOG.error("the state was not saved: %s", err)
            return
        streams.reserve(kept, first_seq)
        for name, why in failed.items():
            _LOG.error("stream %s: no snapshot was taken: %s", name, why)

    def _keep(self) -> "Future[None]":
        """Ask for the list of streams and objects to be written; from any thread.

        Who asks while another waits for the same shares its future, so at most one waits.
        """
        with self._keep_lock:
            if self._to_keep is None:
                self._to_keep = Future()
                self._to_keep.set_running_or_notify_cancel()
                self._wishes.put(self._to_keep)
            return self._to_keep

    def _keep_list(self, written: "Future[None]") -> None:
        assert self._store is not None and self._parts is not None
        with self._keep_lock:
            self._to_keep = None  # what changes from now on is for the next one
        err = self._save_list(self._store, self._parts.streams, self._parts.pipeline)
        if err is not None:
            written.set_exception(Refused(ErrorCode.SNAPSHOT, err.message, err.hint))
        else:
            written.set_result(None)

    def _save_list(self, store: Store, streams: Streams, pipeline: Pipeline) -> TrackdError | None:
        """Write the list of streams, and so reserve numbers; return why that failed."""
        kept, first_seq = streams.kept(), streams.first_seq()
        try:
            store.save_streams(kept, pipeline, first_seq=first_seq)
        except TrackdError as err:
            _LOG.error("the list of streams was not saved: %s", err)
            return err
        streams.reserve(kept, first_seq)
        return None

    def _reload(self) -> None:
        """Take in what changed in the configuration; a wrong one changes nothing."""
        assert self._parts is not None
        try:
            config = self._read_config()
        except TrackdError as err:
            _LOG.error("the configuration was not read again: %s", err)
            return
        changes = compare(self._config, config)
        _LOG.info("the configuration was read again: %s", changes)
        setup_logs(config.log)
        streams = self._parts.streams
        gone: list[Future[None]] = []
        for name in (*changes.removed, *changes.changed):
            try:
                gone.append(streams.remove(name))
            except Refused as err:
                _LOG.warning("stream %s was not removed: %s", name, err)
        for future in gone:
            future.result()
        for name, settings in (changes.added | changes.changed).items():
            try:
                streams.add(name, settings, configured=True)
            except Refused as err:
                _LOG.error("stream %s was not opened: %s", name, err)
        live = {"log": config.log, "streams": config.streams}
        self._config = self._config.model_copy(update=live)

    def _drain(self) -> None:
        """Take no more, save, and let everything end; what hangs is left behind."""
        assert self._parts is not None
        parts, until_s = self._parts, time.monotonic() + self._config.drain_timeout_s
        if not parts.streams.close_all(self._config.drain_timeout_s / 2):
            _LOG.error("a source hangs; its thread was left behind")
        if self._store is not None:
            self._save(self._config.drain_timeout_s / 4)
        ends: list[tuple[str, Callable[[float], object]]] = [
            ("tracker", parts.pipeline.stop),
            ("control", parts.control.stop),
            ("data", parts.publisher.stop),
        ]
        for name, stop in ends:
            if stop(max(0.1, until_s - time.monotonic())) is False:
                _LOG.error("%s hangs; its thread was left behind", name)
