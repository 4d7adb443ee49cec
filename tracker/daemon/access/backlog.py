"""Backlog of each connection inside libzmq, both ways, and which to close for it.

Between the kernel and whoever reads a socket, libzmq holds messages: per connection as many as its
high-water mark says, and of a message in parts whatever came of it. The kernel counts the bytes
that came over a TCP connection; less those of the messages that were read they are what is held.

For a subscriber that does not read libzmq keeps as many messages as its high-water mark says. The
kernel reports whether the other end took all.
"""

import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

from tracker.daemon.access.connections import Connection
from tracker.daemon.access.peers import borrowed

with suppress(ImportError):
    import fcntl
    import termios

#: Bytes of a connection that are let pass: its handshake and heartbeats, and what libzmq adds.
SLACK_BYTES = 64 * 1024
#: What CURVE adds to a part: the name of the command, its nonce, the seal and the flags (RFC 26).
SEALING_BYTES = 8 + 8 + 16 + 1
_TCP_INFO = struct.Struct("=128xQ")  # Linux's struct tcp_info, until tcpi_bytes_received
_COUNT = struct.Struct("i")


def wire_bytes(size: int) -> int:
    """Bytes that a part of a message takes in ZMTP 3, without encryption."""
    return size + (2 if size < 256 else 9)


def bytes_received(descriptor: int) -> int:
    """Bytes that came over a connection so far; 0 where the system does not say.

    Raises:
        OSError: It is no socket, or no longer one.
    """
    if sys.platform != "linux":
        return 0
    with borrowed(descriptor) as sock:
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return 0
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    return int(_TCP_INFO.unpack(info)[0]) if len(info) == _TCP_INFO.size else 0


def bytes_unsent(descriptor: int) -> int:
    """Bytes in the kernel that the other end has not taken; 0 where the system does not say.

    Raises:
        OSError: The descriptor is not open.
    """
    if sys.platform != "linux":
        return 0
    return int(_COUNT.unpack(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(_COUNT.size)))[0])


def unread_bytes(connection: Connection, received: int) -> int:
    """Bytes of an open connection that libzmq holds, of `received` so far.

    Where a message was just read and little is left, all that came before it was read: what was
    missing is what is not part of any message.
    """
    connection.read_bytes = min(connection.read_bytes, received)
    held = received - connection.read_bytes
    if connection.read_lately and held < SLACK_BYTES:
        connection.read_bytes = received
    connection.read_lately = False
    return held


def hoarders(held: Iterable[tuple[int, Connection]], most: int) -> list[Connection]:
    """Connections to close so that no more than `most` bytes are held: the largest first."""
    ordered = sorted(held, key=lambda one: one[0], reverse=True)
    total = sum(nbytes for nbytes, _ in ordered)
    found: list[Connection] = []
    for nbytes, connection in ordered:
        if total <= most:
            break
        found.append(connection)
        total -= nbytes
    return found


def note_progress(connection: Connection, unsent: int, now_s: float) -> None:
    """Take note of the bytes that the other end has not taken."""
    if unsent == 0:
        connection.behind_s = None
    elif connection.behind_s is None:
        connection.behind_s = now_s


def sleepers(
    held: Iterable[tuple[int, Connection]], most: int, behind_since_s: float
) -> list[Connection]:
    """Connections to close so that no more than `most` bytes are kept: the longest behind.

    Args:
        held: Connections, and the bytes that may be kept for each that is behind.
        most: For all together.
        behind_since_s: Those that are behind for less count as being at it.
    """
    behind = [
        (connection.behind_s, nbytes, connection)
        for nbytes, connection in held
        if connection.behind_s is not None and connection.behind_s <= behind_since_s
    ]
    behind.sort(key=lambda one: one[0])
    total = sum(nbytes for _, nbytes, _ in behind)
    found: list[Connection] = []
    for _, nbytes, connection in behind:
        if total <= most:
            break
        found.append(connection)
        total -= nbytes
    return found
