"""ZAP authenticator: one thread that answers libzmq and watches all connections.

libzmq asks over ZAP (ZeroMQ RFC 27) about each handshake. A socket with a ZAP domain takes no
greeting of ZMTP 1.0 or 2.0, which have no handshake: any bytes, an HTTP request among them, could
otherwise pass for messages.
"""

import logging
import select
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import zmq

from tracker.daemon.access.backlog import (
    bytes_received,
    bytes_unsent,
    hoarders,
    note_progress,
    sleepers,
    unread_bytes,
    wire_bytes,
)
from tracker.daemon.access.connections import Connection, ConnectionTable, surplus
from tracker.daemon.access.grants import Caller
from tracker.daemon.net.wakeup import Wakeup

HANDSHAKE_MS = 10_000
MAX_UNREAD_SUBSCRIPTION_BYTES = 2**18  # of one connection to a publishing socket
WARN_EVERY_S = 10.0

_LOG = logging.getLogger("trackd.keys")
_DOMAIN = b"trackd"
_VERSION = b"1.0"
_TICK_S = 1.0
_BEHIND_S = 5.0  # less than that is no more than a slow moment
_LOOK_S = 0.1  # from one look at what libzmq holds to the next
_ROUNDS = 8
_ANSWERS_AT_ONCE = 64
_NUMBER = "X-Trackd-Handshake"  # property of each message: the number of its connection's handshake
_DESCRIPTOR = "__fd"


@dataclass(frozen=True, slots=True)
class Question:
    """A handshake that libzmq asks about."""

    mechanism: bytes
    credentials: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on a handshake.

    Attributes:
        status: 200: let in; 300: to try again; 400: refused.
        user: `User-Id` of all messages of the connection.
        properties: More of these.
    """

    status: int
    user: str = ""
    properties: tuple[tuple[str, bytes], ...] = ()


class Authenticator(ABC):
    """Lets connections in to the sockets of one context that went through `guard`, and no other.

    Without a running thread these sockets let nobody in.

    Args:
        most: Connections to each socket; the silent ones are closed first where there are more.

    Attributes:
        most_unread_bytes: What all connections together may have sent and nobody has read yet; of
            more, those that sent most are closed.
        most_unsent_bytes: What may be kept for all subscribers that are behind; of more, those that
            are behind for longest are closed.
        refused_for: Connections refused or closed so far, by reason: "key", "user", "limit",
            "shut out", "unread", "behind".
        unread_bytes: What is held of messages that were not read yet.
    """

    _sealing_bytes = 0  # that each part of a message takes more than what is in it

    def __init__(self, most: int = 512) -> None:
        reasons = ("key", "user", "limit", "shut out", "unread", "behind")
        self.refused_for: Counter[str] = Counter(dict.fromkeys(reasons, 0))
        self.most_unread_bytes = 32 * 2**20
        self.most_unsent_bytes = 256 * 2**20
        self.unread_bytes = 0
        self._most = most
        self._lock = threading.RLock()
        self._tables: list[ConnectionTable] = []
        self._context: zmq.Context[Any] | None = None
        self._zap: zmq.Socket[Any] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._opened = 0
        self._authenticated = 0
        self._next_warning_s = 0.0
        self._next_tick_s = 0.0
        self._next_look_s = 0.0

    # --- for subclasses

    @abstractmethod
    def _set_up(self, socket: zmq.Socket[Any]) -> None:
        """Set the options of a socket that choose how it authenticates."""

    @abstractmethod
    def _judge(self, question: Question) -> Verdict:
        """Decide about a handshake; called under the lock."""

    @abstractmethod
    def _caller(self, frame: zmq.Frame, connection: Connection | None) -> Caller:
        """Sender of a message; called under the lock."""

    def _meet(self, connections: Sequence[Connection]) -> None:  # noqa: B027 - may do nothing
        """Look at connections that were just accepted; called under the lock."""

    def _shut_out(self, frame: zmq.Frame) -> None:  # noqa: B027 - may do nothing
        """Let the client that sent a message not in again for some time; called under the lock."""

    def _tick(self) -> None:  # noqa: B027 - may do nothing
        """Called about once a second, under the lock."""

    # --- called from any thread

    @property
    def restricted(self) -> bool:
        """True if some clients may see some streams only."""
        return False

    @property
    def tells_sources(self) -> bool:
        """True if all who subscribe may know where streams come from."""
        return True

    def start(self, context: zmq.Context[Any]) -> None:
        """Begin to answer for the sockets of `context`; before these bind."""
        self._context = context
        self._zap = context.socket(zmq.REP)
        self._zap.linger = 0
        self._zap.bind("inproc://zeromq.zap.01")
        self._wakeup = Wakeup()
        self._thread = threading.Thread(target=self._run, name="authenticator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; before the context is closed."""
        if self._thread is None or self._zap is None:
            return
        self._stopping.set()
        self._wakeup.wake()
        self._thread.join()
        with self._lock:
            for table in self._tables:
                table.close()
            self._tables.clear()
            self._zap.close()
        self._wakeup.close()

    def apply(self, socket: zmq.Socket[Any]) -> "GuardedSocket":
        """Guard a socket; before it binds."""
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
        # Else libzmq lets everyone in when no authenticator handler.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._set_up(socket)
        with self._lock:
            if self._context is None or self._stopping.is_set():
                return GuardedSocket(self, None)
            self._opened += 1
            table = ConnectionTable(socket, self._context, str(self._opened))
            self._tables.append(table)
        self._wakeup.wake()  # there is one more to wait for
        return GuardedSocket(self, table)

    @property
    def healthy(self) -> bool:
        """True if its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    # --- called by what guards a socket, from the thread of that socket

    def unwatch(self, table: ConnectionTable) -> None:
        """Watch a socket no more."""
        with self._lock:
            table.close()
            with suppress(ValueError):
                self._tables.remove(table)

    def identify(
        self, table: ConnectionTable | None, parts: Sequence[zmq.Frame]
    ) -> tuple[Caller, Connection | None]:
        """Sender of a message, and the connection that it came over, where that is still open."""
        with self._lock:
            connection = None if table is None else self._connection(table, parts[-1])
            if connection is not None:
                connection.spoke = connection.read_lately = True
                connection.read_bytes += sum(
                    wire_bytes(len(part) + self._sealing_bytes) for part in parts
                )
            return self._caller(parts[-1], connection), connection

    def bytes_unsent(self, table: ConnectionTable, connection: Connection) -> int:
        """Bytes for a connection that its other end has not taken; 0 for one that is closed."""
        with self._lock, suppress(OSError):
            if table.holds(connection):
                return bytes_unsent(connection.descriptor)
        return 0

    def still_open(
        self, table: ConnectionTable, connections: Iterable[Connection]
    ) -> set[Connection]:
        """Those that were open when this was called."""
        with self._lock:
            self._catch_up()
            return {connection for connection in connections if table.holds(connection)}

    def cut(self, table: ConnectionTable, connection: Connection) -> None:
        """Close a connection at once, unless it is closed already."""
        with self._lock:
            self._catch_up()
            if table.holds(connection):
                connection.cut()

    def shut_out(self, frame: zmq.Frame) -> None:
        """Let the client that sent a message not in again for some time, where clients differ."""
        with self._lock:
            self._shut_out(frame)

    # --- under the lock

    def _connection(self, table: ConnectionTable, frame: zmq.Frame) -> Connection | None:
        number, descriptor = prop(frame, _NUMBER), prop(frame, _DESCRIPTOR)
        if number is None or descriptor is None:
            return None
        return table.find(int(descriptor), int(number))

    def _catch_up(self) -> None:
        """Take in all news of connections, and look at those that are new."""
        for _ in range(_ROUNDS):
            fresh = [one for e in self._tables for one in e.read(self._authenticated)]
            if not fresh:
                break
            self._meet(fresh)
        else:  # they come faster than they can be looked at
            for table in self._tables:
                for connection in table.read(self._authenticated):
                    self._shed(connection)
        self._tables = [table for table in self._tables if table.is_open]
        for table in self._tables:
            if len(table.connections) > self._most:
                self._trim(table)

    def _trim(self, table: ConnectionTable) -> None:
        for connection in surplus(table.wanted(), self._most):
            self._shed(connection)

    def _shed(self, connection: Connection) -> None:
        connection.cut()
        self.refused_for["limit"] += 1
        self._warn("closed a connection: there are too many (%d closed so far)", reason="limit")

    def _shed_hoarders(self) -> None:
        """Close those that sent most where more is held than may be.

        Subscribers have a bound each: libzmq takes in subscriptions for as long as they come, some
        fifty bytes of memory for each byte, before it hands on the first.
        """
        held: list[tuple[int, Connection]] = []
        flooding: list[Connection] = []
        for table in self._tables:
            for connection in table.wanted():
                with suppress(OSError):
                    nbytes = unread_bytes(connection, bytes_received(connection.descriptor))
                    held.append((nbytes, connection))
                    if table.publishes and nbytes > MAX_UNREAD_SUBSCRIPTION_BYTES:
                        flooding.append(connection)
        self.unread_bytes = sum(nbytes for nbytes, _ in held)
        for connection in {*flooding, *hoarders(held, self.most_unread_bytes)}:
            connection.cut()
            self.refused_for["unread"] += 1
            text = "closed a connection: it sent faster than it is read (%d closed so far)"
            self._warn(text, reason="unread")

    def _warn(self, text: str, *args: object, reason: str) -> None:
        """Log a refusal, with their number; whoever tries on and on does not fill the disk."""
        now_s = time.monotonic()
        if now_s >= self._next_warning_s:
            self._next_warning_s = now_s + WARN_EVERY_S
            _LOG.warning(text, *args, self.refused_for[reason])

    def _shed_sleepers(self, now_s: float) -> None:
        """Close subscribers that leave what they are sent where more is kept than may be."""
        held: list[tuple[int, Connection]] = []
        for table in self._tables:
            if not table.publishes:
                continue
            for connection in table.wanted():
                with suppress(OSError):
                    note_progress(connection, bytes_unsent(connection.descriptor), now_s)
                    held.append((table.queue_bytes, connection))
        for connection in sleepers(held, self.most_unsent_bytes, now_s - _BEHIND_S):
            connection.cut()
            self.refused_for["behind"] += 1
            text = "closed a connection: it does not read, nor do others (%d closed so far)"
            self._warn(text, reason="behind")

    # --- in the thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            answered_all = True
            try:
                with self._lock:
                    answered_all = self._serve()
            except Exception:  # nothing that a client can cause; whatever it is, go on
                _LOG.exception("a connection was not looked at")
            if answered_all:
                self._wait()

    def _serve(self) -> bool:
        """Do what there is to do; False where there is more."""
        self._catch_up()
        now_s = time.monotonic()
        if now_s >= self._next_tick_s:
            self._next_tick_s = now_s + _TICK_S
            self._tick()
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + _LOOK_S
            self._shed_hoarders()
            self._shed_sleepers(now_s)
        return not all(self._answer() for _ in range(_ANSWERS_AT_ONCE))

    def _wait(self) -> None:
        poll = select.poll()
        with self._lock:
            assert self._zap is not None
            waited_for = [self._wakeup.fileno(), int(self._zap.getsockopt(zmq.FD))]
            waited_for += [table.fileno() for table in self._tables if table.is_open]
            is_watched = any(table.connections for table in self._tables)
        for descriptor in waited_for:
            poll.register(descriptor, select.POLLIN)
        poll.poll(1000 * (_LOOK_S if is_watched else _TICK_S))
        self._wakeup.clear()

    def _answer(self) -> bool:
        """Answer one question of libzmq; False where there is none."""
        assert self._zap is not None
        try:
            asked = self._zap.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        verdict = self._decide(asked)
        properties: list[tuple[str, bytes]] = []
        if verdict.status == 200:
            self._authenticated += 1
            properties = [(_NUMBER, b"%d" % self._authenticated), *verdict.properties]
        packed = b"".join(_packed(name, value) for name, value in properties)
        status = b"%d" % verdict.status
        self._zap.send_multipart([_VERSION, asked[1], status, b"", verdict.user.encode(), packed])
        return True

    def _decide(self, asked: Sequence[bytes]) -> Verdict:
        if len(asked) < 6 or asked[0] != _VERSION or asked[2] != _DOMAIN:
            return Verdict(400)
        try:
            self._catch_up()
            return self._judge(Question(asked[5], asked[6:]))
        except Exception:  # an answer there must be, or no other question is heard
            _LOG.exception("a handshake was not looked at")
            return Verdict(300)


class GuardedSocket:
    """A socket behind an authenticator; called from the thread of the socket."""

    def __init__(self, authenticator: Authenticator, table: ConnectionTable | None) -> None:
        self._authenticator = authenticator
        self._table = table

    def identify(self, *parts: zmq.Frame) -> tuple[Caller, Connection | None]:
        """Sender of a message, and the connection that it came over, where that is still open."""
        return self._authenticator.identify(self._table, parts)

    def bytes_unsent(self, connection: Connection) -> int:
        """Bytes for a connection that its other end has not taken; 0 for one that is closed."""
        return (
            0 if self._table is None else self._authenticator.bytes_unsent(self._table, connection)
        )

    def still_open(self, connections: Iterable[Connection]) -> set[Connection]:
        """Those that were open when this was called."""
        if self._table is None:
            return set()
        return self._authenticator.still_open(self._table, connections)

    def cut(self, connection: Connection) -> None:
        """Close a connection at once: nothing more reaches the other end."""
        if self._table is not None:
            self._authenticator.cut(self._table, connection)

    def shut_out(self, frame: zmq.Frame) -> None:
        """Let the client that sent a message not in again for some time, where clients differ."""
        self._authenticator.shut_out(frame)

    def keeps(self, nbytes: int) -> None:
        """Take note of what libzmq may keep for one connection that does not read."""
        if self._table is not None:
            self._table.queue_bytes = nbytes

    def close(self) -> None:
        """Call this before the socket is closed."""
        if self._table is not None:
            self._authenticator.unwatch(self._table)


def prop(frame: zmq.Frame, name: str) -> str | None:
    """A property of the connection that a message came over; None where it has none."""
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return None


def _packed(name: str, value: bytes) -> bytes:
    """A property as ZMTP writes it."""
    return bytes([len(name)]) + name.encode() + len(value).to_bytes(4, "big") + value
