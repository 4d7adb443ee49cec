"""Self-pipe wake-up of a thread that polls sockets."""

import contextlib
import socket
import threading


class Wakeup:
    """One thread polls `fileno()`, any other wakes it."""

    def __init__(self) -> None:
        self._lock = (
            threading.Lock()
        )  # so that nobody writes to a descriptor that is closed just then
        self._sender, self._receiver = socket.socketpair()
        self._sender.setblocking(False)
        self._receiver.setblocking(False)

    def wake(self) -> None:
        """Wake the thread; never waits, and does nothing once closed."""
        with self._lock, contextlib.suppress(OSError):  # full: it will wake up anyway
            self._sender.send(b"!")

    def clear(self) -> None:
        """Take in all wake-ups so far."""
        with contextlib.suppress(BlockingIOError):
            self._receiver.recv(4096)

    def fileno(self) -> int:
        """Readable once it was woken."""
        return self._receiver.fileno()

    def close(self) -> None:
        """Free the descriptors."""
        with self._lock:
            self._sender.close()
            self._receiver.close()
