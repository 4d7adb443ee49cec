"""The control socket: a ROUTER and its thread.

A client is known by its CURVE key, else by its routing id. A REQ or DEALER socket gets a new
routing id with each connection unless it sets `ZMQ_ROUTING_ID`, which a client that retries
requests should do: only then is a repeated id known as a repetition after a reconnect. Programs
that share a CURVE key share its rate and its request ids; random ids keep them apart.

A request is one part, alone (DEALER) or after an empty delimiter (REQ). A message in other parts is
answered with an error: what leads up to its first empty part, and that, is its return address, as
ZeroMQ's proxies have it.

What no option of ZeroMQ bounds is the number of parts of one message, which it gathers before it
hands them over: a client that is let in and never ends a message can make it hold memory until the
connection ends. Where clients are not trusted, the service manager's memory limit is the bound.
"""

import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import Any

import zmq

from tracker.daemon.answers import Address, Answers, Handle
from tracker.daemon.bell import Bell
from tracker.daemon.config import ControlConfig, LimitsConfig
from tracker.daemon.curve import Security
from tracker.daemon.listen import listen
from tracker.daemon.status import ControlStatus
from tracker.errors import TrackdError

_LOG = logging.getLogger("trackd.control")
# A request up to so many times too large is answered with an error; ZeroMQ cuts off what is larger.
_READ_FACTOR = 4
_QUEUED_REQUESTS = 16  # per client, before it has to wait
_QUEUED_REPLIES = 256  # per client, before replies to it are dropped
_LINGER_MS = 1000
_HANDSHAKE_MS = 10_000
_HEARTBEAT_MS = 10_000
_SILENT_MS = 30_000
_ENVELOPES = ((), (b"",))  # of a DEALER, and of a REQ or of a DEALER that does as a REQ does
_LONGEST_ENVELOPE = 16  # parts of a return address that is answered to
_WIDEST_HOP = 255  # bytes of each, as ZeroMQ has it


class Control:
    """Answers requests on a ROUTER socket, in a thread of its own.

    Args:
        config: Where to listen, sizes, rates, times.
        limits: How many clients are counted for.
        security: Keys; None leaves the socket open to who reaches it.
        context: Of the socket.
        handle: Does a request, in the control thread: returns its result or a future of it, or
            raises `Refused`. It must not wait.
    """

    def __init__(
        self,
        config: ControlConfig,
        limits: LimitsConfig,
        security: Security | None,
        *,
        context: zmq.Context[Any],
        handle: Handle,
    ) -> None:
        self._config = config
        self._security = security
        self._context = context
        self._bell = Bell()
        self._answers = Answers(config, limits, handle, send=self._send, wake=self._bell.ring)
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._stopping = threading.Event()
        self._unanswerable = 0
        self._undelivered = 0
        self.endpoint = ""

    def start(self) -> None:
        """Listen, and answer from now on; `endpoint` then says where.

        Raises:
            TrackdError: The address is in use, or cannot be listened on.
        """
        router = self._context.socket(zmq.ROUTER)
        try:
            self._prepare(router)
            self.endpoint = listen(router, self._config.bind)
        except TrackdError:
            router.close()
            raise
        self._router = router
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Answer what is in progress with `SHUTTING_DOWN` and close; False: the thread hangs."""
        self._stopping.set()
        self._bell.ring()
        if self._thread.ident is not None:  # else it was never started
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self._bell.close()
        return True

    def status(self) -> ControlStatus:
        """What it has done, and holds; from any thread."""
        answers = self._answers
        return ControlStatus(
            healthy=self._thread.is_alive(),
            requests=dict(answers.requests),
            replies=dict(answers.replies),
            unanswerable=self._unanswerable,
            undelivered=self._undelivered,
            in_progress=answers.in_progress,
            remembered=len(answers.remembered),
            remembered_bytes=answers.remembered.nbytes,
            clients=answers.clients,
            refused_clients=0 if self._security is None else self._security.refused,
        )

    def _prepare(self, router: zmq.Socket[Any]) -> None:
        router.setsockopt(zmq.LINGER, _LINGER_MS)
        router.setsockopt(zmq.MAXMSGSIZE, _READ_FACTOR * self._config.max_message_bytes)
        router.setsockopt(zmq.RCVHWM, _QUEUED_REQUESTS)
        router.setsockopt(zmq.SNDHWM, _QUEUED_REPLIES)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # to count the replies that nobody takes
        router.setsockopt(zmq.ROUTER_HANDOVER, 1)  # who comes back replaces its old connection
        router.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        router.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        router.setsockopt(zmq.HEARTBEAT_TIMEOUT, _SILENT_MS)
        router.setsockopt(zmq.HEARTBEAT_TTL, _SILENT_MS)
        if self._security is not None:
            self._security.apply(router)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._bell.fileno(), zmq.POLLIN)
        while not self._stopping.is_set():
            ready = dict(poller.poll(self._patience_ms()))
            try:
                if self._bell.fileno() in ready:
                    self._bell.silence()
                if self._router in ready:
                    self._receive()
                self._answers.settle()
            except Exception:  # nothing that a client can cause; whatever it is, go on
                _LOG.exception("a message was given up")
        self._answers.abandon()
        self._router.close()

    def _patience_ms(self) -> int | None:
        """How long nothing has to be done unless something comes; None: for ever."""
        deadline_s = self._answers.deadline_s
        if deadline_s is None:
            return None
        return max(0, math.ceil((deadline_s - time.monotonic()) * 1000))

    def _receive(self) -> None:
        """Take one message and answer it, with an error where its parts make no sense."""
        routing_id, *parts = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
        envelope, payload = _envelope(parts), parts[-1]
        if envelope is None:
            self._unanswerable += 1
            return
        client, address = self._client(routing_id.bytes, payload), (routing_id.bytes, *envelope)
        if envelope in _ENVELOPES and len(parts) == len(envelope) + 1:
            self._answers.request(client, address, payload.bytes)
        else:
            self._answers.misframed(client, address, len(parts), payload.bytes)

    def _client(self, routing_id: bytes, payload: zmq.Frame) -> bytes:
        """Who sent it: the owner of the key where there are keys, else the connection."""
        if self._security is None:
            return routing_id
        return str(payload.get("User-Id")).encode()

    def _send(self, address: Address, reply: bytes) -> None:
        try:
            self._router.send_multipart([*address, reply], zmq.NOBLOCK)
        except zmq.ZMQError as err:  # the client is gone, or does not read
            if err.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            self._undelivered += 1


def _envelope(parts: Sequence[zmq.Frame]) -> tuple[bytes, ...] | None:
    """The parts that a reply begins with; None for more hops than there are."""
    empty = next((index for index, part in enumerate(parts[:-1]) if not len(part)), None)
    hops = () if empty is None else parts[: empty + 1]
    if any(len(hop) > _WIDEST_HOP for hop in hops):
        return ()  # they are no addresses: whoever is connected sent them
    return None if len(hops) > _LONGEST_ENVELOPE else tuple(hop.bytes for hop in hops)
