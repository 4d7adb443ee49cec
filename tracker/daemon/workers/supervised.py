"""Child process that is supervised, after livekit/agents, `ipc/supervised_proc.py`.

One that crashes, hangs, outgrows its memory or says what is not understood is ended and started
again with a backoff; so is one that cannot be started.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import Future

from tracker.daemon.config.schema import RetryConfig, WorkersConfig
from tracker.daemon.sources.backoff import Backoff
from tracker.daemon.telemetry.status import WorkerStatus
from tracker.daemon.workers import messages as say
from tracker.daemon.workers.channel import ChannelError
from tracker.daemon.workers.child import Child
from tracker.daemon.workers.model_info import ModelInfo
from tracker.daemon.workers.nursery import Nursery
from tracker.daemon.workers.watch import Watch
from tracker.errors import TrackdError

START_S = 300.0  # for a model to be loaded on a slow disk
_FAILED_S = 5.0  # for a process to end that could not load its model
_TICK_S = 0.25
_LOG = logging.getLogger("trackd.worker")
_RETRY = RetryConfig(first_s=0.5, longest_s=30.0, healthy_s=60.0)


class SupervisedProcess(ABC):
    """Process of a worker, and the thread that watches it; a subclass makes use of it.

    Args:
        name: Names it for people.
        config: When it hangs, and how much memory it may have.
        nursery: Starts the processes.
    """

    def __init__(self, name: str, config: WorkersConfig, nursery: Nursery) -> None:
        self.name = name
        self._bounds = config
        self._nursery = nursery
        self._lock = threading.RLock()  # guards what follows
        self._child: Child | None = None
        self._is_ready = False
        self._status = WorkerStatus(name)
        self._model: Future[ModelInfo] = Future()
        self._leaving = threading.Event()  # no other process is started
        self._stopping = threading.Event()  # nor is this one listened to
        self._thread = threading.Thread(target=self._supervise, name=f"worker-{name}", daemon=True)

    # --- from any thread

    def start(self) -> None:
        """Start the process, and watch it from now on."""
        self._thread.start()

    def model(self) -> ModelInfo:
        """The model, once it is loaded for the first time.

        Raises:
            TrackdError: The process cannot start.
        """
        try:
            return self._model.result(START_S)
        except TimeoutError as err:
            raise TrackdError(f"worker {self.name} did not start in {START_S:g} s") from err

    def stop(self, timeout_s: float) -> bool:
        """Start no more, and end the process where it does not by itself; False where it hangs."""
        self._leaving.set()
        self._stopping.set()
        with self._lock:
            child = self._child
        if child is not None:
            child.end(timeout_s)
        if self._thread.ident is not None:
            self._thread.join(_TICK_S + 1.0)
        self._close()
        return not self._thread.is_alive()

    # --- with the lock

    def _send(self, parts: list[bytes]) -> bool:
        """Queue a message to the process that is ready; False where there is none, or no room."""
        return self._is_ready and self._child is not None and self._child.send(parts)

    # --- what a subclass does; in the thread that watches the process

    @abstractmethod
    def _setup(self) -> say.Setup:
        """The first message to a process."""

    @abstractmethod
    def _hand_over(self) -> None:
        """Give a process that is ready its work; with the lock."""

    @abstractmethod
    def _take_in(self, message: say.FromWorker, parts: list[bytes]) -> None:
        """Take in what the process says; whatever it raises ends the process."""

    @abstractmethod
    def _tick(self) -> None:
        """Do what is due every so often while the process is ready."""

    @abstractmethod
    def _note_end(self, why: str, wait_s: float) -> None:
        """Take note that the process ended, and that another is started in `wait_s`."""

    @abstractmethod
    def _close(self) -> None:
        """Let nobody wait any more, since no process is started; from any thread."""

    # --- in the thread that watches the process

    def _supervise(self) -> None:
        backoff = Backoff(_RETRY)
        while not self._leaving.is_set():
            begun_s = time.monotonic()
            why = self._live()
            if self._leaving.is_set():
                break
            if not self._model.done():
                error = TrackdError(f"worker {self.name} cannot start: {why}", "the log tells more")
                self._model.set_exception(error)
            wait_s = backoff.failed(time.monotonic() - begun_s)
            self._note_end(why, wait_s)
            self._leaving.wait(wait_s)
        self._close()

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
        except Exception:  # whatever it says, others go on
            _LOG.exception("worker %s: what it says was not understood", self.name)
            fault = "what it says was not understood"
        with self._lock:
            self._is_ready = False
            self._child = None
        if fault:
            child.kill()
        how = child.end(1.0)
        return fault or how

    def _listen(self, child: Child) -> str:
        """Take in what the process says; returns the reason to end it."""
        child.send(say.packed(self._setup()))
        watch = self._watch(child, START_S)
        while not self._stopping.is_set():
            parts = child.receive(_TICK_S)
            if parts is not None:
                message = say.from_worker(parts)
                if isinstance(message, say.Ready):
                    self._begin(message.model)
                    watch = self._watch(child, self._bounds.hang_timeout_s)
                elif isinstance(message, say.Pong):
                    watch.answered(message.status.busy_s)
                    self._take_status(message.status)
                elif isinstance(message, say.Failed):
                    if not self._model.done():
                        self._model.set_exception(TrackdError(message.message, message.hint))
                    child.end(_FAILED_S)
                    return message.message
                else:
                    self._take_in(message, parts)
            if self._is_ready and watch.is_due():
                child.send(say.packed(say.Ping()))
                self._tick()
                if fault := watch.fault():
                    return fault
            elif not self._is_ready and (fault := watch.fault()):
                return fault
        return ""

    def _watch(self, child: Child, hang_timeout_s: float) -> Watch:
        return Watch(
            hang_timeout_s=hang_timeout_s,
            most_bytes=self._bounds.memory_bytes,
            memory_bytes=child.memory_bytes,
            processor_s=child.processor_s,
        )

    def _begin(self, model: ModelInfo) -> None:
        """Take note that a process is ready, unless none is wanted any more."""
        with self._lock:
            if self._leaving.is_set():
                return
            self._is_ready = True
            self._hand_over()
        if not self._model.done():
            self._model.set_result(model)

    def _take_status(self, status: WorkerStatus) -> None:
        with self._lock:
            self._status = status
