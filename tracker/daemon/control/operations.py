"""From a typed request to what is done for it, and back to the result of its reply."""

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import asdict, replace
from typing import Any, Protocol, TypeVar

import pydantic_core
from pydantic import BaseModel

from tracker.daemon.config.schema import ControlConfig, LimitsConfig
from tracker.daemon.control.parse import OPS
from tracker.daemon.control.request_handler import Result
from tracker.daemon.futures import after
from tracker.daemon.messages import (
    Command,
    ListCommand,
    PromptCommand,
    RelabelCommand,
    RemoveCommand,
    RequestError,
    ResetCommand,
)
from tracker.daemon.streams import Streams
from tracker.daemon.telemetry.status import DaemonStatus
from tracker.daemon.tracking.scheduler import CommandResult, Scheduler
from tracker.models import Model
from tracker.protocol import requests as ask
from tracker.protocol.fields import VERSION, StreamSettings
from tracker.protocol.replies import ChangeResult, ErrorCode, PingResult, StreamsResult
from tracker.protocol.roles import LEAST_ROLE
from tracker.protocol.schema import protocol_schema

T = TypeVar("T")
_WAIT_PART = 0.9  # of `control.timeout_s`: a prompt that waited in vain is told so before


class Snapshots(Protocol):
    """Where objects are kept over restarts."""

    def save(self, stream: str) -> "Future[None]":
        """Write a stream's objects now; the future may fail with `RequestError`."""

    def restore(self, stream: str) -> "Future[CommandResult]":
        """Put back what was written last; raises `RequestError`, or the future fails with it."""


class Operations:
    """Does what clients ask for; never waits.

    Args:
        streams: The streams that there are.
        pipeline: Takes the commands to the objects.
        snapshots: Keeps objects; None where nothing is kept.
        keep: Asks for the list of streams to be written, and never waits; None likewise.
        model: What tracks.
        version: Of trackd.
        limits: Told to clients.
        control: Likewise.
        ready: Whether frames and prompts are taken.
        status: How everything is.
        shut_down: Asks for the end, and returns at once.
    """

    def __init__(
        self,
        *,
        streams: Streams,
        pipeline: Scheduler,
        snapshots: Snapshots | None,
        keep: "Callable[[], Future[None]] | None" = None,
        model: Model,
        version: str,
        limits: LimitsConfig,
        control: ControlConfig,
        ready: Callable[[], bool],
        status: Callable[[], DaemonStatus],
        shut_down: Callable[[], None],
    ) -> None:
        self._streams = streams
        self._pipeline = pipeline
        self._snapshots = snapshots
        self._keep = keep
        self._version = version
        self._longest_wait_s = _WAIT_PART * control.timeout_s
        self._ready = ready
        self._status = status
        self._shut_down = shut_down
        self._started_s = time.monotonic()
        self._description = _describe(version, model, limits, control) | {"epoch": streams.epoch}

    def handle(self, request: ask.AnyRequest) -> "Result | Future[Result]":
        """Do a request: return its result, or a future of it.

        Raises:
            Refused: It cannot be done; the future may fail with this as well.
        """
        match request:
            case ask.Ping():
                return self._ping()
            case ask.Describe():
                return self._description
            case ask.Metrics():
                return _json(self._status())
            case ask.Shutdown():
                self._shut_down()
                return {}
            case ask.StreamAdd():
                self._streams.add(request.stream, _settings(request))
                return self._listed()
            case ask.StreamRemove():
                return after(self._streams.remove(request.stream), lambda _: self._listed())
            case ask.StreamPause():
                self._streams.pause(request.stream)
                return self._listed()
            case ask.StreamResume():
                self._streams.resume(request.stream)
                return self._listed()
            case ask.StreamList():
                return _json(StreamsResult(streams=self._streams.list()))
            case ask.SnapshotSave():
                return then(self._kept().save(request.stream), lambda _: {})
            case ask.SnapshotRestore():
                return then(self._kept().restore(request.stream), _told)
            case _:
                command = _command(request, self._longest_wait_s)
                return then(self._pipeline.submit(request.stream, command), _told)

    def _ping(self) -> Result:
        uptime_s = time.monotonic() - self._started_s
        return _json(PingResult(version=self._version, ready=self._ready(), uptime_s=uptime_s))

    def _listed(self) -> "Future[Result]":
        """The result of a change of the list: done when it is on the disk, or will not be."""
        result: Future[Result] = Future()
        result.set_running_or_notify_cancel()
        if self._keep is None:
            result.set_result({})
            return result

        def finish(kept: "Future[None]") -> None:
            error = kept.exception()
            durable = error is None
            result.set_result(_json(ChangeResult(durable=durable, reason=str(error or ""))))

        self._keep().add_done_callback(finish)
        return result

    def _kept(self) -> Snapshots:
        if self._snapshots is None:
            raise RequestError(
                ErrorCode.SNAPSHOT,
                "nothing is kept: there is no state folder",
                "set state.dir in the daemon's configuration",
            )
        return self._snapshots


def then(future: "Future[T]", read: Callable[[T], Result]) -> "Future[Result]":
    """A future of what `read` makes of the result of `future`; to cancel it cancels both."""
    made: Future[Result] = Future()

    def finish(done: "Future[T]") -> None:
        if not made.set_running_or_notify_cancel():
            return
        try:
            made.set_result(read(done.result()))
        except CancelledError:
            made.set_exception(RequestError(ErrorCode.SHUTTING_DOWN, "the request was dropped"))
        except Exception as err:
            made.set_exception(err)

    def cancel(given_up: "Future[Result]") -> None:
        if given_up.cancelled():
            future.cancel()

    future.add_done_callback(finish)
    made.add_done_callback(cancel)
    return made


_ObjectRequest = (
    ask.PromptObject
    | ask.ObjectCorrect
    | ask.ObjectRemove
    | ask.ObjectReset
    | ask.ObjectRelabel
    | ask.ObjectList
)


def _command(request: _ObjectRequest, longest_wait_s: float) -> Command:
    """What the pipeline is to do, between two frames or while there are none."""
    match request:
        case ask.PromptObject():
            prompt = _prompt(request, label=request.label, must_exist=False)
            return replace(prompt, wait_s=min(prompt.wait_s, longest_wait_s))
        case ask.ObjectCorrect():
            prompt = _prompt(request, label=None, must_exist=True)
            return replace(prompt, wait_s=min(prompt.wait_s, longest_wait_s))
        case ask.ObjectRemove():
            return RemoveCommand(request.object)
        case ask.ObjectReset():
            return ResetCommand(request.object)
        case ask.ObjectRelabel():
            return RelabelCommand(request.object, request.label)
        case ask.ObjectList():
            # In turn with the other commands, so that the list shows what they did.
            return ListCommand()


def _prompt(
    request: ask.PromptObject | ask.ObjectCorrect, *, label: str | None, must_exist: bool
) -> PromptCommand:
    labels = (1,) * len(request.points) if request.labels is None else request.labels
    return PromptCommand(
        object_id=request.object,
        points=request.points,
        labels=labels,
        box=request.box,
        mask=request.mask,
        label=label,
        frame=request.frame,
        normalized=request.normalized,
        must_exist=must_exist,
        wait_s=request.wait_s,
    )


def _settings(request: ask.StreamAdd) -> StreamSettings:
    """The settings in a request, without what makes it one."""
    return StreamSettings(**{name: getattr(request, name) for name in StreamSettings.model_fields})


def _told(result: CommandResult) -> Result:
    """The result of a command as its reply has it; nothing where doing it was all."""
    return _json(result) if isinstance(result, BaseModel) else {}


def _json(value: BaseModel | DaemonStatus) -> Result:
    plain: Result = pydantic_core.to_jsonable_python(value)
    return plain


def _describe(
    version: str, model: Model, limits: LimitsConfig, control: ControlConfig
) -> dict[str, Any]:
    told = {"max_message_bytes", "requests_per_s", "burst", "timeout_s"}
    return {
        "version": version,
        "protocol": VERSION,
        "model": {
            "name": model.name,
            "fingerprint": model.fingerprint,
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "input_size": model.input.size,
            "precision": model.precision,
            "optimizations": list(model.optimizations),
            "license": None if model.license is None else asdict(model.license),
        },
        "limits": limits.model_dump(mode="json") | control.model_dump(mode="json", include=told),
        "ops": list(OPS),
        "roles": dict(LEAST_ROLE),
        "schemas": protocol_schema(),
    }
