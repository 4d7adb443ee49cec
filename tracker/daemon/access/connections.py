"""Table of the connections to one listening ZeroMQ socket, as its monitor reports them."""

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import zmq

from tracker.daemon.access.grants import Grant
from tracker.daemon.access.peers import borrowed

_EVENT = struct.Struct("=Hi")
_WATCHED = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_MONITOR_STOPPED


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, from when it was accepted until it is closed.

    Attributes:
        descriptor: Of its socket, which belongs to libzmq.
        address: Of the other end; None where it was gone at once.
        after: Handshakes authenticated, of all connections, before it was accepted.
        user: User id of the program at the other end; None where it is not known.
        key: Public key of the client; None without keys, and before its first message.
        grant: What that key was good for when its newest message came.
        spoke: A message came from it.
        unwanted: It was, or is to be, closed from this side.
        revoked_s: Since when its key is not allowed, by `time.monotonic()`.
        read_bytes: Of its messages that were read, as they came over the wire.
        read_lately: One was read since its bytes were last counted.
        behind_s: Since when its other end leaves what it was sent, by `time.monotonic()`; None
            where it took all.
    """

    descriptor: int
    address: object
    after: int
    user: int | None = None
    key: bytes | None = None
    grant: Grant | None = None
    spoke: bool = False
    unwanted: bool = False
    revoked_s: float | None = None
    read_bytes: int = 0
    read_lately: bool = False
    behind_s: float | None = None

    def cut(self) -> None:
        """Close it, both ways and at once; libzmq then finds it closed and frees it.

        Whoever calls this has just heard that it is still open. Should libzmq close it, and the
        system give its number away, within the next microseconds, then its address differs.
        """
        self.unwanted = True
        with suppress(OSError), borrowed(self.descriptor) as sock:
            if sock.getpeername() == self.address:
                sock.shutdown(socket.SHUT_RDWR)


class ConnectionTable:
    """Table of the open connections of a socket, used under the lock of its authenticator.

    libzmq reports a connection before it reads from it, and its end before it closes the
    descriptor. So what is looked up about a descriptor is true of its connection where no news of
    its end has come by then.

    Attributes:
        connections: By the descriptor that each has now.
        publishes: The socket sends to whoever subscribes; else it handler.
        queue_bytes: What libzmq may keep for one connection that is behind.
    """

    def __init__(self, watched: zmq.Socket[Any], context: zmq.Context[Any], name: str) -> None:
        self.connections: dict[int, Connection] = {}
        self.publishes = watched.type == zmq.XPUB
        self.queue_bytes = 0
        self._watched = watched
        endpoint = f"inproc://trackd-monitor-{name}"
        watched.monitor(endpoint, _WATCHED)
        self._news = context.socket(zmq.PAIR)
        self._news.linger = 0
        self._news.rcvhwm = 0  # libzmq's own thread waits where there is no room for its news
        self._news.connect(endpoint)

    @property
    def is_open(self) -> bool:
        """True if there may be more news."""
        return not self._news.closed

    def fileno(self) -> int:
        """To wait on; readable at the edge only, so read everything before waiting."""
        return int(self._news.getsockopt(zmq.FD))

    def read(self, authenticated: int) -> list[Connection]:
        """Take in the news; return the connections that are new.

        Args:
            authenticated: Handshakes authenticated so far.
        """
        fresh: dict[int, Connection] = {}
        while self.is_open:
            try:
                news = self._news.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            event, descriptor = _EVENT.unpack(news[0])
            if event == zmq.EVENT_ACCEPTED:
                made = Connection(descriptor, _address(descriptor), authenticated)
                self.connections[descriptor] = fresh[descriptor] = made
            elif event == zmq.EVENT_DISCONNECTED:
                self.connections.pop(descriptor, None)
                fresh.pop(descriptor, None)
            elif event == zmq.EVENT_MONITOR_STOPPED:  # the socket was closed
                self._news.close()
                self.connections.clear()
                fresh.clear()
        return list(fresh.values())

    def find(self, descriptor: int, number: int) -> Connection | None:
        """The connection of a message; None where it is closed.

        Args:
            descriptor: Of the connection, by the message. It may be that of another by now.
            number: Of its handshake. Had that been before the one that now has the descriptor was
                accepted, then it is not that one.
        """
        found = self.connections.get(descriptor)
        return found if found is not None and number > found.after else None

    def holds(self, connection: Connection) -> bool:
        """True if it is still open."""
        return self.connections.get(connection.descriptor) is connection

    def wanted(self) -> list[Connection]:
        """The open connections that are not to be closed, oldest first."""
        return [one for one in self.connections.values() if not one.unwanted]

    def close(self) -> None:
        """Hear no more; before the socket is closed."""
        self.connections.clear()
        if not self._watched.closed:
            self._watched.monitor(None, 0)
        if self.is_open:
            self._news.close()


def surplus(connections: Iterable[Connection], most: int) -> list[Connection]:
    """Those to close so that `most` are left: first those that never spoke, oldest first."""
    ordered = list(connections)
    silent = [one for one in ordered if not one.spoke]
    spoke = [one for one in ordered if one.spoke]
    return [*silent, *reversed(spoke)][: max(0, len(ordered) - most)]


def _address(descriptor: int) -> object:
    try:
        with borrowed(descriptor) as sock:
            return sock.getpeername()
    except OSError:
        return None
