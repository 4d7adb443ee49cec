"""A bounded queue of text with a thread that writes it to a descriptor: no writer waits."""

import contextlib
import io
import os
import select
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

CAPACITY_BYTES = 1 << 20
FLUSH_S = 0.5

_ENTRY_BYTES = 64  # what a text takes up beside its characters


class LogWriter(io.TextIOBase):
    """A text stream whose `write` never waits for the descriptor behind it.

    Where the descriptor takes nothing, because nobody reads a pipe or a disk is full, the oldest
    text makes room for the newest. How much went is said as soon as it flows again.

    Attributes:
        notice: Makes the line that says how many lines were dropped.
        dropped: Lines dropped so far.
    """

    def __init__(self, descriptor: int, *, capacity_bytes: int = CAPACITY_BYTES) -> None:
        """Start the thread.

        Args:
            descriptor: Is written to, and not closed.
            capacity_bytes: Text that may wait.
        """
        self.notice: Callable[[int], str] = _notice
        self.dropped = 0
        self._descriptor = descriptor
        self._capacity_bytes = capacity_bytes
        self._changed = threading.Condition()  # reentrant: a finalizer may warn while it is held
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._untold = 0
        self._finished = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str, /) -> int:
        """Queue text; never waits."""
        data = text.encode(errors="backslashreplace")[: self._capacity_bytes]
        with self._changed:
            self._waiting.append(data)
            self._waiting_bytes += len(data) + _ENTRY_BYTES
            while self._waiting_bytes > self._capacity_bytes and len(self._waiting) > 1:
                self._count(self._take().count(b"\n"))
            self._changed.notify_all()
        return len(text)

    def finish(self, timeout_s: float) -> bool:
        """Write what waits, and end; False where it was not all written in time."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _take(self) -> bytes:
        data = self._waiting.popleft()
        self._waiting_bytes -= len(data) + _ENTRY_BYTES
        return data

    def _count(self, lines: int) -> None:
        self.dropped += lines
        self._untold += lines

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._finished)
                if not self._waiting:
                    return
                data = self._take()
                dropped, self._untold = self._untold, 0
            told = self.notice(dropped).encode(errors="backslashreplace") if dropped else b""
            if not self._write_out(told + data):
                with self._changed:
                    self._untold += dropped
                    self._count(data.count(b"\n"))

    def _write_out(self, data: bytes) -> bool:
        """Write all of it, however long that takes; False where the descriptor refuses it."""
        left = memoryview(data)
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # who started us made it so
                poll.poll(1000)
            except OSError:
                return False
        return True


def dropped_lines() -> int:
    """Lines that went because whoever reads the log of this process did not keep up."""
    return sys.stderr.dropped if isinstance(sys.stderr, LogWriter) else 0


@contextlib.contextmanager
def background_output() -> Iterator[None]:
    """Within the block nothing that is printed or logged waits for who reads it.

    `sys.stdout` and `sys.stderr` both become a `LogWriter` on what stderr was. At the end it has
    `FLUSH_S` for what waits. Libraries that write to the descriptors themselves lose what does not
    fit into a pipe or terminal; a socket cannot be opened once more, so there they wait.
    """
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or no file
        yield
        return
    for own in (1, 2):
        with contextlib.suppress(OSError):
            _never_block(own)
    before = sys.stdout, sys.stderr
    writer = LogWriter(descriptor)
    sys.stdout = sys.stderr = writer
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        if writer.finish(FLUSH_S):
            os.close(descriptor)


def _never_block(descriptor: int) -> None:
    """Open a pipe or terminal once more, without blocking; whom we share it with still blocks.

    Raises:
        OSError: The system does not let us.
    """
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode) or os.isatty(descriptor):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
        twin = os.open(f"/proc/self/fd/{descriptor}", flags)
        os.dup2(twin, descriptor)
        os.close(twin)


def _notice(lines: int) -> str:
    return f"{lines} lines of the log were dropped here\n"
