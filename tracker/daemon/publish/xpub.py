"""XPUB socket that subscribers can neither slow down nor make grow."""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zmq

from tracker.daemon.access.authenticator import Authenticator
from tracker.daemon.net.listen import listen
from tracker.daemon.publish.subscriptions import CheckedSubscriptions, OutOfStep, Subscriptions
from tracker.errors import TrackdError

if TYPE_CHECKING:
    from tracker.daemon.access.authenticator import GuardedSocket

_log = logging.getLogger(__name__)

REPEAT_EVERY_S = 0.25  # a topic is repeated to late subscribers no more often than this
MAX_SUBSCRIBED_BYTES = 2**18
_READ_AT_ONCE = 64
# Longer than any topic; the handshake of a client with a key and the longest identity fits.
_MAX_INCOMING_BYTES = 640
_RECEIVE_BUFFER_BYTES = 64 * 1024  # of the kernel, for each connection


@dataclass(slots=True)
class _Kept:
    """The newest message of a topic.

    Attributes:
        repeat: Makes the parts of its copy.
        due: Someone subscribed since it was sent.
        repeated_s: When the topic was last repeated, by `time.monotonic()`.
    """

    repeat: Callable[[], list[bytes]]
    due: bool = False
    repeated_s: float = float("-inf")


class XpubSocket:
    """An XPUB socket that keeps the newest message of each topic for those who come late.

    Sending never waits: what a slow subscriber has no room for is lost to it alone. A new
    subscription has the newest message of each matching topic sent again, to all who subscribe.

    The subscriptions that libzmq keeps grow with what subscribers send, and there is no way to
    send one of them off. So they are counted, and where they pass `MAX_SUBSCRIBED_BYTES` the
    socket is closed and opened again: honest subscribers connect again by themselves.

    Behind an authenticator that lets some see some streams only, a subscription counts once it was
    checked.

    `bind` is called once; all calls after it come from one thread.

    Attributes:
        endpoint: Where it listens, with the port that was chosen for port 0; "" before `bind`.
        resets: How often it was opened again; only grows.
        sent: Messages sent, repeats included; only grows.
        sent_bytes: Handed to libzmq, however many subscribe; only grows.
    """

    def __init__(
        self,
        address: str,
        security: "Authenticator | None",
        *,
        context: zmq.Context[zmq.Socket[bytes]],
        send_hwm: int,
    ) -> None:
        self.endpoint = ""
        self.resets = 0
        self.sent = 0
        self.sent_bytes = 0
        self._address = address
        self._security = security
        self._context = context
        self._send_hwm = send_hwm
        self._sizes: deque[int] = deque(maxlen=send_hwm)  # of the newest messages
        self._socket: zmq.Socket[bytes] | None = None
        self._kept: dict[bytes, _Kept] = {}
        self._guarded: GuardedSocket | None = None
        self._subscriptions = Subscriptions(None)

    def bind(self) -> None:
        """Listen.

        Raises:
            TrackdError: The address is taken, not of this machine, or no address at all.
        """
        self._open(self._address)

    def _open(self, address: str) -> None:
        socket = self._context.socket(zmq.XPUB)
        try:
            socket.sndhwm = self._send_hwm
            # With little room, libzmq takes in subscriptions about as slowly as they are read
            # here. With room for one it loses those of clients that an authenticator lets in.
            socket.rcvhwm = 2
            socket.rcvbuf = _RECEIVE_BUFFER_BYTES  # what is still read of a connection that is cut
            socket.maxmsgsize = _MAX_INCOMING_BYTES
            socket.xpub_verbose = True  # reports every subscription, not just a topic's first
            socket.tcp_keepalive = 1  # a peer that vanished is noticed within two minutes
            socket.tcp_keepalive_idle = 60
            socket.tcp_keepalive_intvl = 10
            socket.tcp_keepalive_cnt = 6
            self._subscriptions = self._guard(socket)
            self.endpoint = listen(socket, address)
        except BaseException:
            self._close(socket, linger_ms=0)
            raise
        self._socket = socket

    def _guard(self, socket: zmq.Socket[bytes]) -> Subscriptions:
        """Put the socket behind the authenticator, where there is one."""
        self._guarded = None
        if self._security is None:
            return Subscriptions(None)
        self._guarded = self._security.apply(socket)
        if not self._security.restricted:
            return Subscriptions(self._guarded)
        socket.setsockopt(zmq.XPUB_MANUAL, 1)
        return CheckedSubscriptions(socket, self._guarded)

    def _close(self, socket: zmq.Socket[bytes], linger_ms: int) -> None:
        if self._guarded is not None:
            self._guarded.close()
            self._guarded = None
        socket.close(linger=linger_ms)

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """To wait for subscriptions on; None while it waits to be opened again."""
        return self._socket

    @property
    def is_open(self) -> bool:
        """True if it listens."""
        return self._socket is not None

    @property
    def subscriptions(self) -> int:
        """Different topics, or beginnings of topics, subscribed to."""
        return len(self._subscriptions)

    def wants(self, topic: bytes) -> bool:
        """True if someone subscribes to `topic` or to a beginning of it."""
        return self._subscriptions.wants(topic)

    def names(self, topic: bytes) -> bool:
        """True if someone subscribes to just this `topic`, not to a beginning of it."""
        return self._subscriptions.names(topic)

    def send(
        self, topic: bytes, parts: list[bytes], repeat: Callable[[], list[bytes]] | None = None
    ) -> None:
        """Send a message to those who subscribe; it is lost to those who have no room for it.

        Args:
            topic: What its first part begins with.
            parts: The message.
            repeat: Makes the parts of a copy for those who subscribe later, until the next such
                message of the topic; None leaves what is kept of the topic.
        """
        if repeat is not None:
            kept = self._kept.setdefault(topic, _Kept(repeat))
            kept.repeat, kept.due = repeat, False
        if self._socket is not None:
            self._subscriptions.before_sending(topic)
            self._socket.send_multipart(parts, zmq.NOBLOCK)
            self.sent += 1
            size = sum(map(len, parts))
            self.sent_bytes += size
            self._sizes.append(size)
            if self._guarded is not None:
                self._guarded.keeps(sum(self._sizes))

    def forget(self, topic: bytes) -> None:
        """Keep nothing of a topic."""
        self._kept.pop(topic, None)
        self._subscriptions.forget(topic)

    def serve(self) -> bool:
        """Take in new subscriptions, send the repeats that are due, open again what was closed.

        Returns:
            Whether all that had come in was read. Where not, wait a little: whoever floods the
            socket is to cost no more than that.
        """
        if self._socket is None:
            self._reopen()
            return True
        read_all = self._read()
        now_s = time.monotonic()
        for topic, kept in self._kept.items():
            if kept.due and now_s - kept.repeated_s >= REPEAT_EVERY_S:
                kept.repeated_s = now_s
                self.send(topic, kept.repeat(), kept.repeat)
        return read_all

    def wait_s(self) -> float | None:
        """Seconds until `serve` has something to do, subscriptions aside; None for never."""
        if self._socket is None:
            return REPEAT_EVERY_S
        due_s = [kept.repeated_s + REPEAT_EVERY_S for kept in self._kept.values() if kept.due]
        return max(0.0, min(due_s) - time.monotonic()) if due_s else None

    def _read(self) -> bool:
        assert self._socket is not None
        for _ in range(_READ_AT_ONCE):
            try:
                notice = self._socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return True
            try:
                subscribed = self._subscriptions.take_in(notice)
            except OutOfStep as err:
                self._reset(str(err))
                return True
            if subscribed is not None:
                for name, kept in self._kept.items():
                    kept.due = kept.due or name.startswith(subscribed)
            if self._subscriptions.nbytes > MAX_SUBSCRIBED_BYTES:
                self._subscriptions.blame(notice)
                self._reset(f"{len(self._subscriptions)} subscriptions are too many")
                return True
        return False

    def _reset(self, why: str) -> None:
        assert self._socket is not None
        _log.warning("%s: %s; closed to all and opened again", self.endpoint, why)
        self.resets += 1
        self._close(self._socket, linger_ms=0)
        self._socket = None
        self._subscriptions = Subscriptions(None)
        self._reopen()

    def _reopen(self) -> None:
        """Listen at the same place; libzmq may need a moment to leave it, so this is retried."""
        with suppress(TrackdError):
            self._open(self.endpoint)

    def close(self, linger_s: float) -> None:
        """Stop listening; what was sent may take `linger_s` to reach subscribers."""
        if self._socket is not None:
            self._close(self._socket, linger_ms=round(1000 * max(0.0, linger_s)))
            self._socket = None
