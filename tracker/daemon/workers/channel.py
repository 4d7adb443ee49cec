"""Channel between the daemon and a worker: messages of several parts over a pair of sockets.

A message is the number of its parts and the length of each, as unsigned integers in network order,
then the parts. The first is JSON that names the type of the message, see `messages`; nothing is
pickled. What is announced is not taken for granted: memory is taken as bytes arrive.
"""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence

#: Of one message; a snapshot of many objects is the largest.
MAX_MESSAGE_BYTES = 4 * 2**30
MAX_PARTS = 4096
_COUNT = struct.Struct("!H")
_LENGTH_BYTES = 8
_READ_BYTES = 1 << 18


class ChannelError(Exception):
    """The other side is gone, or what it sends is no message."""


class Channel:
    """One end; one thread receives, any thread sends.

    Args:
        sock: Connected; it belongs to the channel.
        max_bytes: Of one message; a longer one is an error.
    """

    def __init__(self, sock: socket.socket, *, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._sock = sock
        self._max_bytes = max_bytes
        self._sending = threading.Lock()
        self._received = bytearray()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def send(self, parts: Sequence[bytes]) -> None:
        """Send a message; waits until the other side has room for it.

        Raises:
            ChannelError: The other side is gone.
        """
        lengths = struct.pack(f"!{len(parts)}Q", *map(len, parts))
        try:
            with self._sending:
                self._sock.sendall(b"".join([_COUNT.pack(len(parts)), lengths, *parts]))
        except OSError as err:
            raise ChannelError(str(err)) from err

    def receive(self, timeout_s: float | None = None) -> list[bytes] | None:
        """The next message; None where it was not complete in time.

        Raises:
            ChannelError: The other side is gone, or the message is too long.
        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while (parts := self._taken()) is None:
            left_ms = None if until_s is None else 1000 * max(0.0, until_s - time.monotonic())
            if not self._poll.poll(left_ms):
                return None
            self._read()
        return parts

    def close(self) -> None:
        """End both directions; who receives or sends gets an error."""
        with contextlib.suppress(OSError):  # the other side closed it
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _read(self) -> None:
        try:
            data = self._sock.recv(_READ_BYTES)
        except OSError as err:
            raise ChannelError(str(err)) from err
        if not data:
            raise ChannelError("the other side is gone")
        self._received += data

    def _taken(self) -> list[bytes] | None:
        """Take a message out of what was received; None where it is not complete."""
        received = self._received
        if len(received) < _COUNT.size:
            return None
        (count,) = _COUNT.unpack_from(received)
        if not 1 <= count <= MAX_PARTS:
            raise ChannelError(f"a message of {count} parts")
        begin = _COUNT.size + _LENGTH_BYTES * count
        if len(received) < begin:
            return None
        lengths = struct.unpack_from(f"!{count}Q", received, _COUNT.size)
        if sum(lengths) > self._max_bytes:
            raise ChannelError(f"a message of {sum(lengths)} bytes")
        if len(received) < begin + sum(lengths):
            return None
        parts = []
        for length in lengths:
            parts.append(bytes(received[begin : begin + length]))
            begin += length
        del received[:begin]
        return parts
