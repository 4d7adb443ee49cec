"""Server of a worker process: does what the daemon asks over the channel."""

import logging
import threading
import time
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import replace
from functools import partial

import torch

from tracker.daemon.control.asking import ASKING
from tracker.daemon.finding.service import Finding
from tracker.daemon.messages import Event, RequestError
from tracker.daemon.publish.encoder import FrameEncoder
from tracker.daemon.record.recorders import Recorders, recorded_model
from tracker.daemon.sources.client_sources import source_policy
from tracker.daemon.telemetry.logs import setup_logs
from tracker.daemon.telemetry.status import WorkerStatus
from tracker.daemon.tracking.frame_numbers import FrameNumbers, Numbering
from tracker.daemon.tracking.scheduler import CommandResult, Scheduler
from tracker.daemon.workers import messages as say
from tracker.daemon.workers.channel import Channel, ChannelError
from tracker.daemon.workers.local import LocalWorker
from tracker.daemon.workers.model_info import ModelInfo
from tracker.daemon.workers.remote_pixels import RemotePixels
from tracker.daemon.workers.uplink import Uplink
from tracker.daemon.workers.warm import warm_model
from tracker.engine import Policy
from tracker.errors import TrackdError
from tracker.models import Model
from tracker.processors import ThreadGovernor
from tracker.protocol.data import EventName
from tracker.protocol.replies import ErrorBody, ErrorCode

_LOG = logging.getLogger("trackd.worker")


def serve(channel: Channel) -> None:
    """Set up a worker, then do what the daemon asks, until it hangs up."""
    try:
        setup = say.to_worker(channel.receive() or [])
        assert isinstance(setup, say.Setup)
        setup_logs(setup.config.log)
        torch.set_num_threads(min(setup.threads, torch.get_num_threads()))
        try:
            model, policy = warm_model(setup.config.model, setup.config.limits)
        except TrackdError as err:
            channel.send(say.packed(say.Failed(message=err.message, hint=err.hint)))
            return
        server = RemoteWorker(channel, setup, model, policy)
        channel.send(say.packed(say.Ready(model=ModelInfo.of(model))))
        server.run()
    except ChannelError as err:
        _LOG.debug("the daemon hung up: %s", err)


class RemoteWorker:
    """Does what the daemon asks of a `LocalWorker`; `run` belongs to the main thread."""

    def __init__(self, channel: Channel, setup: say.Setup, model: Model, policy: Policy) -> None:
        config = setup.config
        self._channel = channel
        self._numbering = Numbering(epoch=setup.epoch)
        self._numbers: dict[str, FrameNumbers] = {}
        self._own_ports: tuple[int, ...] = ()
        self._pending: dict[int, Future[CommandResult]] = {}
        self._uplink = Uplink(
            channel,
            FrameEncoder(latest=config.data.latest_bind is not None),
            frames_per_stream=config.data.outbox_frames,
            report=self._report,
        )
        self._pixels = RemotePixels(self._uplink.reply, config.limits.frame_pixels)
        self._governor = ThreadGovernor()
        finding = Finding(config.model)
        recorders = Recorders(
            on_note=self._uplink.note,
            on_event=self._uplink.event,
            model=recorded_model(model, config),
        )
        scheduler = Scheduler(
            model,
            policy,
            commands_queued=config.limits.commands_queued,
            on_tracked=recorders.before(finding.after(self._uplink.tracked)),
            on_event=self._uplink.event,
            between_frames=recorders.between(self._governor.adjust),
        )
        self._worker = LocalWorker(
            scheduler,
            config.retry,
            config.limits,
            on_event=self._uplink.event,
            finding=finding,
            policy=source_policy(config.security, lambda: self._own_ports),
            pixels=self._pixels,
            name=setup.name,
            recorders=recorders,
        )
        scheduler.start()
        self._uplink.start()

    def run(self) -> None:
        """Do what the daemon asks.

        Raises:
            ChannelError: It hung up.
        """
        while True:
            parts = self._channel.receive()
            assert parts is not None
            message = say.to_worker(parts)
            try:
                self._do(message, parts)
            except RequestError as err:  # of what is not answered: it is gone, or has no thread
                _LOG.warning("%s: %s", message.type, err)

    def _do(self, message: say.ToWorker, parts: list[bytes]) -> None:
        match message:
            case say.Submit():
                self._submit(message, parts)
            case say.Cancel():
                if (future := self._pending.get(message.id)) is not None:
                    future.cancel()
            case say.AddStream():
                self._add(message)
            case say.PauseStream():
                self._worker.pause(message.stream)
            case say.ResumeStream():
                self._resume(message.stream)
            case say.RecordStream():
                self._worker.record(message.stream, on=message.on)
            case say.RemoveStream():
                self._remove(message)
            case say.SetPreviews():
                self._uplink.want(message.stream, frozenset(message.topics))
            case say.SetThreads():
                self._governor.limit(message.threads)
            case say.PixelsGiven():
                self._pixels.answer(message)
            case say.Ping():
                self._pong()
            case say.LetGo():
                self._worker.let_go()
                self._report_all()
                self._uplink.reply(say.packed(say.Done(id=message.id)))
            case say.CloseSources():
                self._close_sources(message)

    def _submit(self, submit: say.Submit, parts: list[bytes]) -> None:
        asking = ASKING.set(bytes.fromhex(submit.client))
        try:
            future = self._worker.submit(submit.stream, say.read_command(submit, parts))
        except RequestError as err:
            self._uplink.reply(_refusal(submit.id, err))
            return
        finally:
            ASKING.reset(asking)
        self._pending[submit.id] = future
        future.add_done_callback(partial(self._answer, submit.id, submit.stream))

    def _answer(self, number: int, stream: str, done: "Future[CommandResult]") -> None:
        """Send the result of a command; in the tracker's thread."""
        self._pending.pop(number, None)
        try:
            parts = say.pack_result(number, done.result())
        except CancelledError:
            return
        except RequestError as err:
            parts = _refusal(number, err)
        except Exception as err:
            _LOG.exception("stream %s: a command failed", stream)
            text = f"{type(err).__name__} in the worker"
            hint = "this is a bug; the daemon's log has the traceback"
            parts = _refusal(number, RequestError(ErrorCode.INTERNAL, text, hint))
        self._uplink.reply(parts, stream)

    def _add(self, add: say.AddStream) -> None:
        self._own_ports = add.own_ports
        numbers = self._numbering.start(add.stream, add.first_seq)
        self._numbers[add.stream] = numbers

        def take(*, paused: bool) -> None:
            trusted = add.trusted
            self._worker.add(add.stream, add.settings, numbers, paused=paused, trusted=trusted)

        try:
            if not add.paused:
                self._worker.check_room()
            take(paused=add.paused)
        except RequestError as err:
            if not add.paused:
                with suppress(RequestError):
                    take(paused=True)
            self._fail(add.stream, err)

    def _resume(self, stream: str) -> None:
        try:
            self._worker.resume(stream)
        except RequestError as err:
            self._fail(stream, err)

    def _fail(self, stream: str, err: RequestError) -> None:
        """Say that a source could not be opened for want of threads."""
        self._uplink.event(Event(stream, EventName.STREAM_FAILED, time.time_ns(), text=str(err)))

    def _remove(self, remove: say.RemoveStream) -> None:
        def finished(left: "Future[None]") -> None:
            if (error := left.exception()) is not None:
                failed = RequestError(ErrorCode.INTERNAL, f"stream {remove.stream}: {error}")
                self._uplink.reply(_refusal(remove.id, failed))
                return
            numbers = self._numbers.pop(remove.stream)
            done = say.Done(id=remove.id, next_seq=numbers.next)
            self._uplink.forget(remove.stream, farewell=say.packed(done))

        try:
            self._worker.remove(remove.stream).add_done_callback(finished)
        except RequestError as err:
            self._uplink.reply(_refusal(remove.id, err))

    def _close_sources(self, close: say.CloseSources) -> None:
        def run() -> None:
            if self._worker.close_sources(close.timeout_s):
                self._uplink.reply(say.packed(say.Done(id=close.id)))
            else:
                hangs = RequestError(ErrorCode.TIMEOUT, "a source hangs")
                self._uplink.reply(_refusal(close.id, hangs))

        threading.Thread(target=run, name="close", daemon=True).start()

    def _report(self, stream: str) -> list[bytes]:
        """The message with the status of a stream; raises UNKNOWN_STREAM."""
        source, tracking = self._worker.source(stream), self._worker.tracking(stream)
        return say.pack_report(stream, self._numbers[stream].next, source, tracking)

    def _report_all(self) -> None:
        for stream in list(self._numbers):
            try:
                self._uplink.reply(self._report(stream))
            except RequestError:  # it is being removed
                continue

    def _pong(self) -> None:
        self._report_all()
        self._uplink.reply(say.packed(say.Pong(status=self._status())))

    def _status(self) -> WorkerStatus:
        return replace(
            self._worker.status(),
            threads=self._governor.threads,
            dropped_frames=self._uplink.dropped_frames,
            failed=self._uplink.failed,
            dropped_notes=self._uplink.dropped_notes,
        )


def _refusal(number: int, err: RequestError) -> list[bytes]:
    error = ErrorBody(code=err.code, message=err.message, hint=err.hint)
    return say.packed(say.Done(id=number, error=error))
