"""A life in a thread of its own, which the main thread ends in time."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

# Of the time for the end, for the last lines of the log and the end of the process.
_RESERVED_SHARE, _LONGEST_RESERVE_S = 0.1, 1.0


class Lifetime:
    """Runs work that may hang, on a disk, a source or a device, and keeps the time of its end.

    The main thread must be free to take signals, and there is one deadline that all share. It
    waits for bytes, since the system may hand a signal to any thread, where no wait of the main
    thread notices; Python writes a byte whichever thread it was (`signal.set_wakeup_fd`).

    Args:
        timeout_s: Longest time from the beginning of the end to the end of the process.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s - min(_LONGEST_RESERVE_S, _RESERVED_SHARE * timeout_s)
        self._begun_s: float | None = None
        self._woken, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)

    def begin_end(self) -> None:
        """From now on the time runs; from a signal handler or any thread."""
        if self._begun_s is None:
            self._begun_s = time.monotonic()
        self._wake()

    def left_s(self, share: float = 1.0) -> float:
        """Seconds left of a share of the time, once it runs."""
        assert self._begun_s is not None
        return max(0.0, self._begun_s + share * self._timeout_s - time.monotonic())

    def run(self, live: Callable[[], None]) -> bool:
        """Call `live` in a thread; False where it still runs after its time.

        Call it once, in the main thread.

        Raises:
            BaseException: What it raised.
        """
        raised: list[BaseException] = []
        ended = threading.Event()

        def run() -> None:
            try:
                live()
            except BaseException as err:  # the main thread tells it
                raised.append(err)
            finally:
                ended.set()
                self._wake()

        with self._woken, self._wakes, _wakes_up(self._wakes):
            threading.Thread(target=run, name="server", daemon=True).start()
            while not ended.is_set() and self._wait():
                pass
        if raised:
            raise raised[0]
        return ended.is_set()

    def _wait(self) -> bool:
        """Wait until something happened or the time is over; False where it is."""
        left_s = None if self._begun_s is None else self.left_s()
        if left_s == 0.0:
            return False
        self._woken.settimeout(left_s)
        with contextlib.suppress(TimeoutError):
            self._woken.recv(64)
        return True

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is awake, or past its end
            self._wakes.send(b"\0")


@contextlib.contextmanager
def _wakes_up(wakes: socket.socket) -> Iterator[None]:
    before = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
