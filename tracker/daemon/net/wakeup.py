"""Wakes a thread that polls sockets."""

import contextlib
import socket
import threading


class Wakeup:
    """One thread polls `fileno()`, any other rings."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # so that nobody rings a descriptor that is closed just then
        self._button, self._ear = socket.socketpair()
        self._button.setblocking(False)
        self._ear.setblocking(False)

    def ring(self) -> None:
        """Wake the thread; never waits, and does nothing once closed."""
        with self._lock, contextlib.suppress(OSError):  # full: it will wake up anyway
            self._button.send(b"!")

    def silence(self) -> None:
        """Take back all ringing so far."""
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)

    def fileno(self) -> int:
        """Readable while it rings."""
        return self._ear.fileno()

    def close(self) -> None:
        """Free the descriptors."""
        with self._lock:
            self._button.close()
            self._ear.close()
