"""Handlers of the operations: what is done for a request, and the result of its reply.

Each row of `tracker.protocol.requests.OPERATIONS` has one handler here.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import Any, Protocol, TypeVar, cast

import pydantic_core
from pydantic import BaseModel

from tracker.daemon.config.schema import ControlConfig, LimitsConfig
from tracker.daemon.control.request_handler import Result
from tracker.daemon.control.transfers import SnapshotTransfers
from tracker.daemon.futures import after, finished
from tracker.daemon.messages import (
    AcceptCommand,
    Command,
    FindCommand,
    ListCommand,
    PromptCommand,
    RelabelCommand,
    RemoveCommand,
    RequestError,
    ResetCommand,
)
from tracker.daemon.streams import Streams
from tracker.daemon.telemetry.collect import stream_info
from tracker.daemon.telemetry.status import DaemonStatus, StreamStatus
from tracker.daemon.tracking.scheduler import CommandResult
from tracker.daemon.workers.model_info import ModelInfo
from tracker.protocol import requests as ask
from tracker.protocol.fields import VERSION, StreamSettings, ZoneSettings
from tracker.protocol.replies import (
    ChangeResult,
    ErrorCode,
    PingResult,
    StreamsResult,
    ZonesResult,
)
from tracker.protocol.requests import OPERATIONS, Request
from tracker.protocol.schema import protocol_schema

T = TypeVar("T")
R = TypeVar("R", bound=Request)
S = TypeVar("S", bound=BaseModel)
Handler = Callable[["Operations", Any], "Result | Future[Result]"]
_WAIT_PART = 0.9  # of `control.timeout_s`: a prompt that waited in vain fails before


_HANDLERS: dict[str, Handler] = {}


def _handles(request: type[R]) -> Callable[[Callable[["Operations", R], T]], Callable[..., T]]:
    """Make a method the handler of the operation of a request class."""

    def enter(handler: Callable[["Operations", R], T]) -> Callable[..., T]:
        row = next(row for row in OPERATIONS.values() if row.request is request)
        _HANDLERS[row.op] = cast(Handler, handler)
        return handler

    return enter


class Snapshots(Protocol):
    """Store of objects that are kept over restarts."""

    def save(self, stream: str) -> "Future[None]":
        """Write a stream's objects now; the future may fail with `RequestError`."""

    def restore(self, stream: str) -> "Future[CommandResult]":
        """Put back what was written last; raises `RequestError`, or the future fails with it."""


class Operations:
    """Handlers of all operations; none waits.

    Args:
        streams: The streams that there are.
        snapshots: Keeps objects; None where nothing is kept.
        keep: Asks for the list of streams to be written, and never waits; None likewise.
        model: What tracks.
        workers: How many workers there are, and why.
        version: Of trackd.
        limits: Reported to clients.
        control: Likewise.
        ready: Whether frames and prompts are taken.
        stream_statuses: How the streams are.
        status: How everything is.
        shut_down: Asks for the end, and returns at once.
    """

    def __init__(
        self,
        *,
        streams: Streams,
        snapshots: Snapshots | None,
        keep: "Callable[[], Future[None]] | None" = None,
        model: ModelInfo,
        workers: str = "",
        version: str,
        limits: LimitsConfig,
        control: ControlConfig,
        ready: Callable[[], bool],
        stream_statuses: Callable[[], Sequence[StreamStatus]],
        status: Callable[[], DaemonStatus],
        shut_down: Callable[[], None],
    ) -> None:
        self._streams = streams
        self._snapshots = snapshots
        self._transfers = SnapshotTransfers(streams)
        self._keep = keep
        self._version = version
        self._longest_wait_s = _WAIT_PART * control.timeout_s
        self._ready = ready
        self._stream_statuses = stream_statuses
        self._status = status
        self._shut_down = shut_down
        self._started_s = time.monotonic()
        self._description = _description(version, model, limits, control)
        self._description |= {"epoch": streams.epoch, "workers": workers}

    def handle(self, request: Request) -> "Result | Future[Result]":
        """Do a request: return its result, or a future of it.

        Raises:
            RequestError: It cannot be done; the future may fail with this as well.
        """
        return _HANDLERS[request.op](self, request)

    @_handles(ask.Ping)
    def _ping(self, request: ask.Ping) -> Result:
        uptime_s = time.monotonic() - self._started_s
        return _json(PingResult(version=self._version, ready=self._ready(), uptime_s=uptime_s))

    @_handles(ask.Describe)
    def _describe(self, request: ask.Describe) -> Result:
        return self._description

    @_handles(ask.Metrics)
    def _metrics(self, request: ask.Metrics) -> Result:
        return _json(self._status().flat())

    @_handles(ask.Shutdown)
    def _shutdown(self, request: ask.Shutdown) -> Result:
        self._shut_down()
        return {}

    @_handles(ask.StreamAdd)
    def _add(self, request: ask.StreamAdd) -> "Future[Result]":
        settings = _settings(request, StreamSettings)
        self._streams.add(
            request.stream, settings, paused=request.paused, owner_epoch=request.owner_epoch
        )
        return self._listed()

    @_handles(ask.StreamRemove)
    def _remove(self, request: ask.StreamRemove) -> "Future[Result]":
        gone = self._streams.remove(request.stream, below=request.owner_epoch)
        return after(gone, lambda _: self._listed())

    @_handles(ask.StreamPause)
    def _pause(self, request: ask.StreamPause) -> "Future[Result]":
        self._streams.pause(request.stream)
        return self._listed()

    @_handles(ask.StreamResume)
    def _resume(self, request: ask.StreamResume) -> "Future[Result]":
        self._streams.resume(request.stream)
        return self._listed()

    @_handles(ask.StreamMove)
    def _move(self, request: ask.StreamMove) -> "Future[Result]":
        return then(self._streams.move(request.stream, request.worker), _as_result)

    @_handles(ask.StreamRecord)
    def _record(self, request: ask.StreamRecord) -> Result:
        self._streams.record(request.stream, on=request.on)
        return {}

    @_handles(ask.StreamList)
    def _list(self, request: ask.StreamList) -> Result:
        streams = [stream_info(status) for status in self._stream_statuses()]
        return _json(StreamsResult(streams=streams))

    @_handles(ask.PromptObject)
    def _prompt(self, request: ask.PromptObject) -> "Future[Result]":
        command = _prompt_command(request, label=request.label, must_exist=False)
        return self._submit_prompt(request.stream, command)

    @_handles(ask.ObjectCorrect)
    def _correct(self, request: ask.ObjectCorrect) -> "Future[Result]":
        command = _prompt_command(request, label=None, must_exist=True)
        return self._submit_prompt(request.stream, command)

    @_handles(ask.Find)
    def _find(self, request: ask.Find) -> "Future[Result]":
        command = FindCommand(
            request.finder,
            request.text,
            request.frame,
            request.min_score,
            request.max_proposals,
            min(request.wait_s, self._longest_wait_s),
        )
        return self._submit(request.stream, command)

    @_handles(ask.ObjectAccept)
    def _accept_object(self, request: ask.ObjectAccept) -> "Future[Result]":
        return self._submit(request.stream, AcceptCommand(request.object))

    @_handles(ask.ObjectRemove)
    def _remove_object(self, request: ask.ObjectRemove) -> "Future[Result]":
        return self._submit(request.stream, RemoveCommand(request.object))

    @_handles(ask.ObjectReset)
    def _reset_object(self, request: ask.ObjectReset) -> "Future[Result]":
        return self._submit(request.stream, ResetCommand(request.object))

    @_handles(ask.ObjectRelabel)
    def _relabel_object(self, request: ask.ObjectRelabel) -> "Future[Result]":
        return self._submit(request.stream, RelabelCommand(request.object, request.label))

    @_handles(ask.ObjectList)
    def _list_objects(self, request: ask.ObjectList) -> "Future[Result]":
        # In turn with the other commands, so that the list shows what they did.
        return self._submit(request.stream, ListCommand())

    @_handles(ask.ZoneSet)
    def _set_zone(self, request: ask.ZoneSet) -> "Future[Result]":
        return self._set_or_remove_zone(request, _settings(request, ZoneSettings))

    @_handles(ask.ZoneRemove)
    def _remove_zone(self, request: ask.ZoneRemove) -> "Future[Result]":
        return self._set_or_remove_zone(request, None)

    def _set_or_remove_zone(
        self, request: ask.ZoneSet | ask.ZoneRemove, settings: ZoneSettings | None
    ) -> "Future[Result]":
        configured = self._streams.is_configured(request.stream)
        done = self._streams.set_zone(request.stream, request.zone, settings)
        if configured and self._keep is not None:
            why = "the configuration names the stream: write the zone there to keep it"
            told = _json(ChangeResult(durable=False, reason=why))
            return after(done, lambda _: finished(told))
        return after(done, lambda _: self._listed())

    @_handles(ask.ZoneList)
    def _list_zones(self, request: ask.ZoneList) -> Result:
        zones = self._streams.zones(request.stream)
        return _json(ZonesResult(stream=request.stream, zones=zones))

    @_handles(ask.SnapshotSave)
    def _save_snapshot(self, request: ask.SnapshotSave) -> "Future[Result]":
        return then(self._kept().save(request.stream), lambda _: {})

    @_handles(ask.SnapshotRestore)
    def _restore_snapshot(self, request: ask.SnapshotRestore) -> "Future[Result]":
        if request.digest is not None:
            return then(self._transfers.restore(request, request.digest), _as_result)
        return then(self._kept().restore(request.stream), _as_result)

    @_handles(ask.SnapshotRead)
    def _read_snapshot(self, request: ask.SnapshotRead) -> "Future[Result]":
        return then(self._transfers.read(request), _json)

    @_handles(ask.SnapshotWrite)
    def _write_snapshot(self, request: ask.SnapshotWrite) -> Result:
        self._transfers.write(request)
        return {}

    def _submit(self, stream: str, command: Command) -> "Future[Result]":
        """Have a command done between two frames, or while there are none."""
        return then(self._streams.submit(stream, command), _as_result)

    def _submit_prompt(self, stream: str, command: PromptCommand) -> "Future[Result]":
        wait_s = min(command.wait_s, self._longest_wait_s)
        return self._submit(stream, replace(command, wait_s=wait_s))

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


def _prompt_command(
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
        draft=isinstance(request, ask.PromptObject) and request.draft,
        return_mask=request.return_mask,
        defer_replay=request.defer_replay,
        text=request.text if isinstance(request, ask.PromptObject) else None,
        finder=request.finder if isinstance(request, ask.PromptObject) else None,
    )


def _settings(request: Request, kind: type[S]) -> S:
    """The settings in a request, without what makes it one."""
    return kind(**{name: getattr(request, name) for name in kind.model_fields})


def _as_result(result: CommandResult) -> Result:
    """The result of a command as its reply has it; nothing where doing it was all."""
    return _json(result) if isinstance(result, BaseModel) else {}


def _json(value: BaseModel | dict[str, Any]) -> Result:
    plain: Result = pydantic_core.to_jsonable_python(value)
    return plain


def _description(
    version: str, model: ModelInfo, limits: LimitsConfig, control: ControlConfig
) -> dict[str, Any]:
    shown = {"max_message_bytes", "requests_per_s", "burst", "timeout_s"}
    return {
        "version": version,
        "protocol": VERSION,
        "model": model.model_dump(mode="json"),
        "limits": limits.model_dump(mode="json") | control.model_dump(mode="json", include=shown),
        "ops": sorted(OPERATIONS),
        "roles": {row.op: row.role for row in OPERATIONS.values()},
        "schemas": protocol_schema(),
    }
