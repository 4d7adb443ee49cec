"""A publishing socket that its subscribers can neither slow down nor make grow."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zmq

from tracker.daemon.listen import listen
from tracker.errors import TrackdError

if TYPE_CHECKING:
    from tracker.daemon.curve import Security

_log = logging.getLogger(__name__)

REPEAT_EVERY_S = 0.25  # a topic is repeated to late subscribers no more often than this
MAX_SUBSCRIBED_BYTES = 2**18
_TOPIC_OVERHEAD_BYTES = 64
_READ_AT_ONCE = 64
# Longer than any topic; the handshake of a client with a key and the longest identity fits.
_MAX_INCOMING_BYTES = 640


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


class Outlet:
    """An XPUB socket that keeps the newest message of each topic for those who come late.

    Sending never waits: what a slow subscriber has no room for is lost to it alone. A new
    subscription has the newest message of each matching topic sent again, to all who subscribe.

    The subscriptions that libzmq keeps grow with what subscribers send, and there is no way to
    send one of them off. So they are counted, and where they pass `MAX_SUBSCRIBED_BYTES` the
    socket is closed and opened anew: honest subscribers connect again by themselves.

    `bind` is called once; all calls after it come from one thread.

    Attributes:
        endpoint: Where it listens, with the port that was chosen for port 0; "" before `bind`.
        resets: How often it was opened anew; only grows.
        sent: Messages sent, repeats included; only grows.
        sent_bytes: Handed to libzmq, however many subscribe; only grows.
    """

    def __init__(
        self,
        address: str,
        security: "Security | None",
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
        self._socket: zmq.Socket[bytes] | None = None
        self._kept: dict[bytes, _Kept] = {}
        self._subscribed: set[bytes] = set()
        self._subscribed_bytes = 0

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
            socket.maxmsgsize = _MAX_INCOMING_BYTES
            socket.xpub_verbose = True  # every subscription is told, not just the first to a topic
            socket.tcp_keepalive = 1  # a peer that vanished is noticed within two minutes
            socket.tcp_keepalive_idle = 60
            socket.tcp_keepalive_intvl = 10
            socket.tcp_keepalive_cnt = 6
            if self._security is not None:
                self._security.apply(socket)
            self.endpoint = listen(socket, address)
        except BaseException:
            socket.close(linger=0)
            raise
        self._socket = socket

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """To wait for subscriptions on; None while it waits to be opened anew."""
        return self._socket

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._socket is not None

    @property
    def subscriptions(self) -> int:
        """Different topics, or beginnings of topics, subscribed to."""
        return len(self._subscribed)

    def wants(self, topic: bytes) -> bool:
        """Whether someone subscribes to `topic` or to a beginning of it."""
        return any(topic[:length] in self._subscribed for length in range(len(topic) + 1))

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
            self._socket.send_multipart(parts, zmq.NOBLOCK)
            self.sent += 1
            self.sent_bytes += sum(map(len, parts))

    def forget(self, topic: bytes) -> None:
        """Keep nothing of a topic."""
        self._kept.pop(topic, None)

    def serve(self) -> bool:
        """Take in new subscriptions, send the repeats that are due, open anew what was closed.

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
                notice = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return True
            self._take_in(notice[:1], notice[1:])
            if self._subscribed_bytes > MAX_SUBSCRIBED_BYTES:
                self._reset()
                return True
        return False

    def _take_in(self, kind: bytes, topic: bytes) -> None:
        """Note a subscription or the end of one; anything else that a client sends is nothing."""
        size = len(topic) + _TOPIC_OVERHEAD_BYTES
        if kind == b"\x01":
            if topic not in self._subscribed:
                self._subscribed.add(topic)
                self._subscribed_bytes += size
            for name, kept in self._kept.items():
                kept.due = kept.due or name.startswith(topic)
        elif kind == b"\x00" and topic in self._subscribed:
            self._subscribed.remove(topic)
            self._subscribed_bytes -= size

    def _reset(self) -> None:
        assert self._socket is not None
        _log.warning(
            "%s: %d subscriptions are too many; closed to all and opened anew",
            self.endpoint,
            len(self._subscribed),
        )
        self.resets += 1
        self._socket.close(linger=0)
        self._socket = None
        self._subscribed.clear()
        self._subscribed_bytes = 0
        self._reopen()

    def _reopen(self) -> None:
        """Listen at the same place; libzmq may need a moment to leave it, so this is retried."""
        with suppress(TrackdError):
            self._open(self.endpoint)

    def close(self, linger_s: float) -> None:
        """Stop listening; what was sent may take `linger_s` to reach subscribers."""
        if self._socket is not None:
            self._socket.close(linger=round(1000 * max(0.0, linger_s)))
            self._socket = None
