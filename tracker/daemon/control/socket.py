"""The control socket: a ROUTER and its thread.

A client is known by its CURVE key, else by its routing id. A REQ or DEALER socket gets a new
routing id with each connection unless it sets `ZMQ_ROUTING_ID`, which a client that retries
requests should do: only then is a repeated id known as a repetition after a reconnect. Programs
that share a CURVE key share its rate and its request ids; random ids keep them apart.

A request is one part, alone (DEALER) or after an empty delimiter (REQ). A message in other parts is
answered with an error: what leads up to its first empty part, and that, is its return address, as
ZeroMQ's proxies have it.

What no option of ZeroMQ bounds is what it holds of all connections together, nor the number of
parts of one message, which it gathers before it hands them over. The authenticator does, on TCP:
see `backlog`. A client that does not read its replies is not answered until it does.
"""

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import zmq

from tracker.daemon.access.authenticator import Authenticator, GuardedSocket
from tracker.daemon.access.connections import Connection
from tracker.daemon.access.grants import LOCAL
from tracker.daemon.access.permissions import Permissions
from tracker.daemon.config.schema import ControlConfig, LimitsConfig
from tracker.daemon.control.request_handler import Address, Handle, RequestHandler
from tracker.daemon.net.listen import listen
from tracker.daemon.net.wakeup import Wakeup
from tracker.daemon.telemetry.activity import Activity
from tracker.daemon.telemetry.status import ControlStatus
from tracker.errors import TrackdError

_LOG = logging.getLogger("trackd.control")
# A request up to so many times too large is answered with an error; ZeroMQ cuts off what is larger.
READ_FACTOR = 4
_QUEUED_REQUESTS = 4  # per client, before it has to wait
_QUEUED_REPLIES = 256  # per client, before replies to it are dropped
_BUFFER_BYTES = 256 * 1024  # of the kernel, for each connection and direction
_UNREAD_REPLIES_BYTES = 64 * 1024  # in there
_LINGER_MS = 1000
_ENVELOPES = ((), (b"",))  # of a DEALER, and of a REQ or of a DEALER that does as a REQ does
_LONGEST_ENVELOPE = 16  # parts of a return address that is answered to
_WIDEST_HOP = 255  # bytes of each, as ZeroMQ has it


class Control:
    """Answers requests on a ROUTER socket, in a thread of its own.

    Args:
        config: Where to listen, sizes, rates, times.
        limits: How many clients are counted for.
        security: Who is let in; None leaves the socket open to who reaches it.
        context: Of the socket.
        handle: Does a request, in the control thread: returns its result or a future of it, or
            raises `RequestError`. It must not wait.
        permissions: What each client may do; None for everything.
    """

    def __init__(
        self,
        config: ControlConfig,
        limits: LimitsConfig,
        security: Authenticator | None,
        *,
        context: zmq.Context[Any],
        handle: Handle,
        permissions: Permissions | None = None,
    ) -> None:
        self._config = config
        self._security = security
        self._guarded: GuardedSocket | None = None
        self._context = context
        self._activity = Activity()
        self._wakeup = Wakeup()
        self._permissions = permissions
        self._request_handler = RequestHandler(
            config, limits, handle, permissions, send=self._send, wake=self._wakeup.wake
        )
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._stopping = threading.Event()
        self._status = ControlStatus()
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
            self._close(router)
            raise
        self._router = router
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Answer what is in progress with `SHUTTING_DOWN` and close; False: the thread hangs."""
        self._stopping.set()
        self._wakeup.wake()
        if self._thread.ident is not None:  # else it was never started
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self._wakeup.close()
        return True

    def status(self) -> ControlStatus:
        """Counters and contents of the socket; from any thread."""
        handler, authenticator = self._request_handler, self._security
        return replace(
            self._status,
            healthy=self._thread.is_alive() and (authenticator is None or authenticator.healthy),
            busy_s=self._activity.busy_s,
            requests=dict(handler.requests),
            replies=dict(handler.replies),
            in_progress=handler.in_progress,
            remembered=len(handler.remembered),
            remembered_bytes=handler.remembered.nbytes,
            clients=handler.clients,
            refused_clients=0 if authenticator is None else authenticator.refused_for["key"],
            refused_connections={} if authenticator is None else dict(authenticator.refused_for),
            unread_bytes=0 if authenticator is None else authenticator.unread_bytes,
            changes={} if self._permissions is None else self._permissions.changes(),
        )

    def _prepare(self, router: zmq.Socket[Any]) -> None:
        router.setsockopt(zmq.LINGER, _LINGER_MS)
        router.setsockopt(zmq.MAXMSGSIZE, READ_FACTOR * self._config.max_message_bytes)
        router.setsockopt(zmq.RCVHWM, _QUEUED_REQUESTS)
        router.setsockopt(zmq.SNDHWM, _QUEUED_REPLIES)
        router.setsockopt(zmq.RCVBUF, _BUFFER_BYTES)
        router.setsockopt(zmq.SNDBUF, _BUFFER_BYTES)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # to count the replies that nobody takes
        router.setsockopt(zmq.ROUTER_HANDOVER, 1)  # who comes back replaces its old connection
        # A peer that vanished is noticed within two minutes. ZeroMQ's own heartbeats would end the
        # process when a client goes whose requests wait in a full queue: zeromq/libzmq#4364.
        router.setsockopt(zmq.TCP_KEEPALIVE, 1)
        router.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
        router.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 10)
        router.setsockopt(zmq.TCP_KEEPALIVE_CNT, 6)
        if self._security is not None:
            self._guarded = self._security.apply(router)

    def _close(self, router: zmq.Socket[Any]) -> None:
        if self._guarded is not None:
            self._guarded.close()
        router.close()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._wakeup.fileno(), zmq.POLLIN)
        while not self._stopping.is_set():
            self._activity.end()
            ready = dict(poller.poll(self._patience_ms()))
            self._activity.begin()
            try:
                if self._wakeup.fileno() in ready:
                    self._wakeup.clear()
                if self._router in ready:
                    self._receive()
                self._request_handler.answer_finished()
            except Exception:  # nothing that a client can cause; whatever it is, go on
                _LOG.exception("a message was given up")
        self._request_handler.abandon()
        self._close(self._router)

    def _patience_ms(self) -> int | None:
        """Longest wait unless something comes; None: for ever."""
        deadline_s = self._request_handler.deadline_s
        if deadline_s is None:
            return None
        return max(0, math.ceil((deadline_s - time.monotonic()) * 1000))

    def _receive(self) -> None:
        """Take one message and answer it, with an error where its parts make no sense."""
        routing_id, *parts = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
        envelope, payload = _envelope(parts), parts[-1]
        caller = LOCAL
        if self._guarded is not None:
            caller, connection = self._guarded.identify(*parts)
            if connection is not None and not self._is_read(self._guarded, connection):
                self._status.undelivered += 1
                return
        if envelope is None:
            self._status.unanswerable += 1
            return
        # The owner of the key where there are keys, else the connection.
        client = routing_id.bytes if caller.account is None else caller.account.encode()
        address = (routing_id.bytes, *envelope)
        if len(payload) > self._config.max_message_bytes:  # which is not even copied
            self._request_handler.overlong(client, address, len(payload))
        elif envelope in _ENVELOPES and len(parts) == len(envelope) + 1:
            self._request_handler.request(client, address, payload.bytes, caller)
        else:
            self._request_handler.misframed(client, address, len(parts), payload.bytes)

    def _is_read(self, guarded: GuardedSocket, connection: Connection) -> bool:
        """True if the client reads its replies; else they would wait here."""
        return guarded.bytes_unsent(connection) <= _UNREAD_REPLIES_BYTES

    def _send(self, address: Address, reply: bytes) -> None:
        try:
            self._router.send_multipart([*address, reply], zmq.NOBLOCK)
        except zmq.ZMQError as err:  # the client is gone, or does not read
            if err.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            self._status.undelivered += 1


def _envelope(parts: Sequence[zmq.Frame]) -> tuple[bytes, ...] | None:
    """The parts that a reply begins with; None for more hops than there are."""
    empty = next((index for index, part in enumerate(parts[:-1]) if not len(part)), None)
    hops = () if empty is None else parts[: empty + 1]
    if any(len(hop) > _WIDEST_HOP for hop in hops):
        return ()  # they are no addresses: whoever is connected sent them
    return None if len(hops) > _LONGEST_ENVELOPE else tuple(hop.bytes for hop in hops)
