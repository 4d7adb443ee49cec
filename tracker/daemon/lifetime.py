"""Lifetime of the daemon: work in a thread of its own, which the main thread ends in time."""

import queue
import threading
import time
from collections.abc import Callable

# Of the time for the end, for the last lines of the log and the end of the process.
_RESERVED_SHARE, _LONGEST_RESERVE_S = 0.1, 1.0


class Lifetime:
    """Runs work that may hang, on a disk, a source or a device, and keeps the time of its end.

    The main thread must be free to take signals, and there is one deadline that all share.

    Args:
        timeout_s: Longest time from the beginning of the end to the end of the process.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s - min(_LONGEST_RESERVE_S, _RESERVED_SHARE * timeout_s)
        self._begun_s: float | None = None
        # A simple queue: a signal handler may put into it at any moment.
        self._ends: queue.SimpleQueue[None] = queue.SimpleQueue()

    def begin_end(self) -> None:
        """From now on the time runs; from a signal handler or any thread."""
        if self._begun_s is None:
            self._begun_s = time.monotonic()
        self._ends.put(None)

    def left_s(self, share: float = 1.0) -> float:
        """Seconds left of a share of the time, once it runs."""
        assert self._begun_s is not None
        return max(0.0, self._begun_s + share * self._timeout_s - time.monotonic())

    def run(self, live: Callable[[], None]) -> bool:
        """Call `live` in a thread; False where it still runs after its time.

        Raises:
            BaseException: What it raised.
        """
        raised: list[BaseException] = []

        def run() -> None:
            try:
                live()
            except BaseException as err:  # the main thread reports it
                raised.append(err)
            finally:
                self.begin_end()

        thread = threading.Thread(target=run, name="server", daemon=True)
        thread.start()
        self._ends.get()
        thread.join(self.left_s())
        if raised:
            raise raised[0]
        return not thread.is_alive()
