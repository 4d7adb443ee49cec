"""A bound on all the waits for the network that a piece of work may need."""

import io
import socket
import time
from typing import Any


class Patience:
    """Deadline of the socket operations of a source, all of them together."""

    def __init__(self, timeout_s: float) -> None:
        self._until_s = time.monotonic() + timeout_s

    def renew(self, timeout_s: float) -> None:
        """Give them so many seconds from now on."""
        self._until_s = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Seconds that are left.

        Raises:
            TimeoutError: None are.
        """
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        return left_s


class PatientReader(io.RawIOBase):
    """The bytes that a socket receives, each wait bounded by what is left of the patience."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self._sock = sock
        self._patience = patience

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive what there is, at least a byte; 0 at the end."""
        self._sock.settimeout(self._patience.left_s())
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        """Close the socket."""
        if not self.closed:
            self._sock.close()
        super().close()
