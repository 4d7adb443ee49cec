"""Authorisation of each request by role and stream, and the audit log of changes."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

from tracker.daemon.access.authenticator import WARN_EVERY_S
from tracker.daemon.access.grants import Caller, Grant
from tracker.daemon.messages import RequestError
from tracker.protocol.replies import ErrorCode
from tracker.protocol.requests import OPERATIONS, Request
from tracker.protocol.roles import Role

if TYPE_CHECKING:
    from tracker.daemon.control.request_handler import Handle, Result

_AUDIT = logging.getLogger("trackd.audit")
_OK, _INTERNAL = "ok", "internal"


class Permissions:
    """Checks requests, shows clients only what is theirs to see, and logs changes.

    All methods are called in the control thread but for `changes`, which may be in any.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: Counter[tuple[str, str]] = Counter()
        self._next_warning_s = 0.0

    def changes(self) -> Mapping[str, Mapping[str, int]]:
        """Number of requests to change something, by operation and outcome."""
        with self._lock:
            counts = dict(self._changes)
        ops = sorted({op for op, _ in counts})
        return {op: {what: n for (of, what), n in counts.items() if of == op} for op in ops}

    def check(self, caller: Caller, request: Request) -> None:
        """Let a request pass.

        Raises:
            RequestError: `FORBIDDEN`.
        """
        try:
            _check(caller, request)
        except RequestError as refusal:
            self._count(request, refusal.code.value)
            now_s = time.monotonic()
            if now_s >= self._next_warning_s:
                self._next_warning_s = now_s + WARN_EVERY_S
                _AUDIT.warning("audit: %s %s: %s", caller.name, _shown(request), refusal.message)
            raise

    def handle(
        self, caller: Caller, request: Request, handle: "Handle"
    ) -> "Result | Future[Result]":
        """Have a request done by `handle`; the result holds what the client may see.

        Raises:
            RequestError: As `handle` does.
        """
        if not OPERATIONS[request.op].changes:
            result = handle(request)
            if isinstance(result, Future) or caller.grant is None:
                return result
            return _seen_by(caller.grant, request, result)
        try:
            result = handle(request)
        except Exception as err:
            self._note(caller, request, _outcome(err))
            raise
        if isinstance(result, Future):
            result.add_done_callback(lambda done: self._note_done(caller, request, done))
        else:
            self._note(caller, request, _OK)
        return result

    def _note_done(self, caller: Caller, request: Request, done: "Future[Result]") -> None:
        if done.cancelled():
            self._note(caller, request, "given up")
            return
        err = done.exception()
        if err is not None:
            self._note(caller, request, _outcome(err))
            return
        made = done.result().get("object")
        made_id = made.get("id") if isinstance(made, dict) else None
        self._note(caller, request, _OK, made_id)

    def _note(
        self, caller: Caller, request: Request, outcome: str, object_id: int | None = None
    ) -> None:
        self._count(request, outcome)
        role = "" if caller.grant is None else f" ({caller.grant.role})"
        what = _shown(request, object_id)
        _AUDIT.info("audit: %s%s %s: %s", caller.name, role, what, outcome)

    def _count(self, request: Request, outcome: str) -> None:
        with self._lock:
            self._changes[request.op, outcome] += 1


def _check(caller: Caller, request: Request) -> None:
    grant, least = caller.grant, OPERATIONS[request.op].role
    if grant is None:
        raise RequestError(
            ErrorCode.FORBIDDEN,
            f"{caller.name} is no longer allowed",
            "ask who runs the daemon to let you in again",
        )
    if not grant.role.covers(least):
        raise RequestError(
            ErrorCode.FORBIDDEN,
            f"{request.op} needs the role {least}, {caller.name} has {grant.role}",
            f"who runs the daemon may move the key to {least}/ in its folder of client keys",
        )
    stream = getattr(request, "stream", None)
    hint = "security.streams in the daemon's configuration says which a key may see"
    if stream is not None and not grant.sees(stream):
        raise RequestError(
            ErrorCode.FORBIDDEN, f"{caller.name} may not see a stream of this name", hint
        )
    if request.op == "shutdown" and grant.streams is not None:
        raise RequestError(
            ErrorCode.FORBIDDEN, f"shutdown ends all streams, {caller.name} may see some", hint
        )


def _shown(request: Request, object_id: int | None = None) -> str:
    """A request as the record has it."""
    named = {"stream": getattr(request, "stream", None)}
    named["object"] = object_id or getattr(request, "object", None)
    pairs = [f"{name}={value}" for name, value in named.items() if value is not None]
    return " ".join([request.op, *pairs])


def _outcome(err: BaseException) -> str:
    return err.code.value if isinstance(err, RequestError) else _INTERNAL


def _seen_by(grant: Grant, request: Request, result: "Result") -> "Result":
    """A result without what is not for the eyes of the client."""
    match request.op:
        case "describe":
            return result | {"role": grant.role.value}
        case "metrics" | "stream.list":
            streams = [info for info in result["streams"] if grant.sees(info["stream"])]
            if not grant.role.covers(Role.ADMIN):
                streams = [_without_source(info) for info in streams]
            return result | {"streams": streams}
        case _:
            return result


def _without_source(info: "Result") -> "Result":
    """A stream without where it comes from: an address and an error can reveal paths and hosts."""
    scheme, found, _ = info["url"].partition(":")
    url = f"{scheme}:" if found and scheme.isalnum() else "file:"
    shown = info | {"url": url, "error": _without_text(info["error"])}
    for part in ("finding", "recording"):
        if (one := info.get(part)) is not None:
            shown[part] = one | {"error": _without_text(one["error"])}
    return shown


def _without_text(error: str) -> str:
    """What stands in place of an error; "" where there is none."""
    return error and "an error; its text is for those with the role admin"
