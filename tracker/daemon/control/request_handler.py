"""Request handler: each request is done once and answered once."""

import hashlib
import logging
import time
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from streams.redaction import redact_text
from tracker.daemon.access.grants import LOCAL, Caller
from tracker.daemon.access.permissions import Permissions
from tracker.daemon.config.schema import ControlConfig, LimitsConfig
from tracker.daemon.control.asking import ASKING
from tracker.daemon.control.parse import Rejected, glance_at_id, parse, too_large
from tracker.daemon.control.rate_limit import RateLimiter
from tracker.daemon.control.reply_cache import CachedReply, Key, ReplyCache
from tracker.daemon.messages import RequestError
from tracker.exhausted import exhausted
from tracker.protocol.replies import ErrorBody, ErrorCode, Reply
from tracker.protocol.requests import OPERATIONS, Request

Result = dict[str, Any]
Handle = Callable[[Request], "Result | Future[Result]"]
Address = tuple[bytes, ...]
"""The parts of a message that lead a reply back to its client."""

UNREAD = "unread"
OK = "ok"
_LOG = logging.getLogger("trackd.control")
_LONGEST_TEXT = 500
# Nothing was begun: the same request may be sent again, and is then tried again.
_PASSING = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.BUSY, ErrorCode.SHUTTING_DOWN})


@dataclass(slots=True)
class _Pending:
    """A request that is being done.

    Attributes:
        address: Where it was last sent from.
        digest: Of the request; None where the reply is not remembered.
    """

    address: Address
    digest: bytes | None
    future: "Future[Result]"
    deadline_s: float


class RequestHandler:
    """Limits, parses and hands on requests, and sends the replies, remembered ones included.

    All methods are called in one thread; the numbers may be read in any. How many requests are in
    progress is bounded by those who do them: they refuse with `BUSY` what they cannot hold.

    Args:
        config: Sizes, rates and times.
        limits: How many clients are counted for.
        handle: Does a request: returns its result or a future of it, or raises `RequestError`.
        permissions: What each client may do; None for everything.
        send: Takes a reply; drops it where the client is gone or does not read.
        wake: Called in any thread when there is something to `answer_finished`.

    Attributes:
        requests: Requests by op, or `UNREAD`.
        replies: Replies sent, by error code or `OK`.
        remembered: The replies to requests that may be sent again.
    """

    def __init__(
        self,
        config: ControlConfig,
        limits: LimitsConfig,
        handle: Handle,
        permissions: Permissions | None = None,
        *,
        send: Callable[[Address, bytes], None],
        wake: Callable[[], None],
    ) -> None:
        self._config = config
        self._handle = handle
        self._permissions = permissions
        self._send = send
        self._wake = wake
        self._rates = RateLimiter(config.requests_per_s, config.burst, limits.clients)
        self._pending: dict[Key, _Pending] = {}
        self._finished: SimpleQueue[tuple[Key, Future[Result]]] = SimpleQueue()
        self.remembered = ReplyCache(config.remembered_replies)
        self.requests = dict.fromkeys([*OPERATIONS, UNREAD], 0)
        self.replies = dict.fromkeys([OK, *(code.value for code in ErrorCode)], 0)

    def request(
        self, client: bytes, address: Address, payload: bytes, caller: Caller = LOCAL
    ) -> None:
        """Answer a request, now or later.

        Args:
            client: Whose rate and whose ids these are.
            address: Where the reply goes.
            payload: The request as it came.
            caller: Who asks.
        """
        if not self._allow(client, address, payload, len(payload)):
            return
        request = parse(payload, self._config.max_message_bytes)
        self.requests[UNREAD if isinstance(request, Rejected) else request.op] += 1
        if isinstance(request, Rejected):
            self._reply(address, Reply(id=request.id, ok=False, error=request.error))
            return
        if self._permissions is not None:
            try:
                self._permissions.check(caller, request)
            except RequestError as refusal:
                self._reply(address, _failure(request.id, refusal))
                return
        key = (client, request.id)
        digest = _digest(request) if OPERATIONS[request.op].remembered else None
        if not self._answer_again(key, digest, address):
            self._begin(key, digest, address, request, caller)

    def misframed(self, client: bytes, address: Address, parts: int, payload: bytes) -> None:
        """Answer a message whose parts are not those of a request.

        Args:
            client: As in `request`; so are the others.
            address: See there.
            parts: How many it has.
            payload: The last one, which may hold an id to repeat.
        """
        if self._allow(client, address, payload, len(payload)):
            self.requests[UNREAD] += 1
            refusal = RequestError(
                ErrorCode.BAD_REQUEST,
                f"a message of {parts} parts is no request",
                "send one part, a JSON object; from a DEALER an empty part may come before it",
            )
            self._reply(address, _failure(glance_at_id(payload), refusal))

    def overlong(self, client: bytes, address: Address, size: int) -> None:
        """Answer a request of more bytes than are read."""
        if self._allow(client, address, b"", size):
            self.requests[UNREAD] += 1
            rejected = too_large(size, self._config.max_message_bytes)
            self._reply(address, Reply(id=rejected.id, ok=False, error=rejected.error))

    def _allow(self, client: bytes, address: Address, payload: bytes, size: int) -> bool:
        """True if a client may ask now; else the refusal is sent."""
        if self._rates.allow(client, time.monotonic(), size):
            return True
        self.requests[UNREAD] += 1
        refusal = RequestError(ErrorCode.RATE_LIMITED, "too many requests", "ask less often")
        self._reply(address, _failure(glance_at_id(payload), refusal))
        return False

    def answer_finished(self) -> None:
        """Answer the requests that are done, and those that took too long."""
        while True:
            try:
                key, future = self._finished.get_nowait()
            except Empty:
                break
            pending = self._pending.get(key)
            if pending is not None and pending.future is future:
                del self._pending[key]
                self._finish(key, pending.digest, pending.address, _outcome(key[1], future))
        while self._pending and self._first().deadline_s <= time.monotonic():
            refusal = RequestError(
                ErrorCode.TIMEOUT,
                f"not done within {self._config.timeout_s:g} s",
                "it may still be done; look before asking again",
            )
            self._give_up(next(iter(self._pending)), refusal)

    def abandon(self) -> None:
        """Answer all that is left; it is no longer waited for."""
        self.answer_finished()
        for key in list(self._pending):
            self._give_up(key, RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down"))

    @property
    def deadline_s(self) -> float | None:
        """Monotonic time of the next timeout; None where nothing is in progress."""
        return self._first().deadline_s if self._pending else None

    @property
    def in_progress(self) -> int:
        """Requests that wait for their result."""
        return len(self._pending)

    @property
    def clients(self) -> int:
        """Clients that requests are counted for."""
        return len(self._rates)

    def _first(self) -> _Pending:
        """The one with the nearest deadline, as all may take equally long."""
        return next(iter(self._pending.values()))

    def _answer_again(self, key: Key, digest: bytes | None, address: Address) -> bool:
        """True if this id was used before; then the reply is that of the first time."""
        pending, remembered = self._pending.get(key), self.remembered.get(key)
        before = pending or remembered
        if before is None:
            return False
        if before.digest != digest:
            refusal = RequestError(
                ErrorCode.BAD_REQUEST,
                "this id was used for another request",
                "give each request an id of its own",
            )
            self._reply(address, _failure(key[1], refusal))
        elif pending is not None:
            pending.address = address
        elif remembered is not None:
            self.replies[remembered.outcome] += 1
            self._send(address, remembered.reply)
        return True

    def _begin(
        self, key: Key, digest: bytes | None, address: Address, request: Request, caller: Caller
    ) -> None:
        """Do a request for the first time."""
        asked = ASKING.set(key[0])
        try:
            if self._permissions is None:
                result = self._handle(request)
            else:
                result = self._permissions.handle(caller, request, self._handle)
        except Exception as err:
            self._finish(key, digest, address, _failure(request.id, err))
            return
        finally:
            ASKING.reset(asked)
        if isinstance(result, Future):
            deadline_s = time.monotonic() + self._config.timeout_s
            self._pending[key] = _Pending(address, digest, result, deadline_s)
            result.add_done_callback(lambda future: self._note_finished(key, future))
        else:
            self._finish(key, digest, address, _success(request.id, result))

    def _note_finished(self, key: Key, future: "Future[Result]") -> None:
        self._finished.put((key, future))
        self._wake()

    def _give_up(self, key: Key, refusal: RequestError) -> None:
        pending = self._pending.pop(key)
        pending.future.cancel()
        self._finish(key, pending.digest, pending.address, _failure(key[1], refusal))

    def _finish(self, key: Key, digest: bytes | None, address: Address, reply: Reply) -> None:
        """Send the first reply to a request, and remember it."""
        outcome, encoded = self._reply(address, reply)
        if digest is not None and outcome not in _PASSING:
            self.remembered.put(key, CachedReply(digest, outcome, encoded))

    def _reply(self, address: Address, reply: Reply) -> tuple[str, bytes]:
        """Send a reply; return what it counts as, and its bytes."""
        try:
            encoded = _encoded(reply)
        except Exception as err:  # a result that is no JSON
            reply = _failure(reply.id, err)
            encoded = _encoded(reply)
        outcome = OK if reply.error is None else reply.error.code.value
        self.replies[outcome] += 1
        self._send(address, encoded)
        return outcome, encoded


def _digest(request: Request) -> bytes:
    return hashlib.blake2b(request.model_dump_json().encode(), digest_size=16).digest()


def _encoded(reply: Reply) -> bytes:
    return reply.model_dump_json(exclude={"error"} if reply.ok else {"result"}).encode()


def _outcome(request_id: str, future: "Future[Result]") -> Reply:
    """The reply to a request whose future is done."""
    try:
        return _success(request_id, future.result())
    except CancelledError:
        return _failure(
            request_id, RequestError(ErrorCode.SHUTTING_DOWN, "the request was dropped")
        )
    except Exception as err:
        return _failure(request_id, err)


def _success(request_id: str, result: Result) -> Reply:
    return Reply(id=request_id, ok=True, result=result)


def _failure(request_id: str, err: Exception) -> Reply:
    """The reply to a request that was refused, or that found a fault of the daemon's own."""
    limit = None if isinstance(err, RequestError) else exhausted(err)
    if limit is not None:
        err = RequestError(ErrorCode.LIMIT, limit.message, limit.hint)
    if not isinstance(err, RequestError):
        _LOG.error("a request failed: %s", redact_text(_trace(err)))
        err = RequestError(
            ErrorCode.INTERNAL,
            f"{type(err).__name__} in the daemon",
            "this is a bug; the daemon's log has the traceback",
        )
    error = ErrorBody(code=err.code, message=_short(err.message), hint=_short(err.hint))
    return Reply(id=request_id, ok=False, error=error)


def _trace(err: Exception) -> str:
    return "".join(traceback.format_exception(err)).rstrip()


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"
