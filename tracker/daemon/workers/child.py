"""Child process of a worker: its start, its channel, and its end."""

import contextlib
import errno
import os
import queue
import signal
import socket
import threading
import time
from pathlib import Path

from tracker.daemon.workers.channel import Channel, ChannelError
from tracker.daemon.workers.nursery import Nursery

MAX_QUEUED = 20_000
_STACKS_S = 0.5  # for the stacks of all threads to be written
_REAP_S = 5.0


class Child:
    """One life of a worker process, from its start to its end.

    Sending never waits: a thread writes to the channel, and where the process reads nothing,
    `MAX_QUEUED` messages wait at most.

    Attributes:
        pid: Its number in the system.
    """

    def __init__(self, name: str, nursery: Nursery) -> None:
        """Start the process.

        Raises:
            OSError: The system gives no process, no thread, or no descriptors.
        """
        self._nursery = nursery
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self.pid = nursery.fork(theirs)
        except OSError:
            ours.close()
            raise
        self._channel = Channel(ours)
        self._ending = threading.Lock()  # the exit code is given once
        self._ended: str | None = None
        self._queue: queue.Queue[list[bytes] | None] = queue.Queue(MAX_QUEUED)
        self._writer = threading.Thread(target=self._write, name=f"to-worker-{name}", daemon=True)
        try:
            self._writer.start()
        except RuntimeError as err:
            self.end(0.0)
            raise OSError(errno.EAGAIN, str(err)) from err

    def send(self, parts: list[bytes]) -> bool:
        """Queue a message; never waits. False where too many wait already."""
        try:
            self._queue.put_nowait(parts)
        except queue.Full:
            return False
        return True

    def receive(self, timeout_s: float) -> list[bytes] | None:
        """See `Channel.receive`."""
        return self._channel.receive(timeout_s)

    def memory_bytes(self) -> int | None:
        """Resident memory; None where the system does not say."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return None
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def processor_s(self) -> float | None:
        """Processor time that it used; None where the system does not say."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """Have it write the stacks of its threads to the log, then end it, whatever it does.

        A process that was stopped goes on for that. One that ended is not looked for: its number
        may be another's.
        """
        if self._ended is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
            os.kill(self.pid, signal.SIGCONT)
            time.sleep(_STACKS_S)
            os.kill(self.pid, signal.SIGKILL)

    def end(self, timeout_s: float) -> str:
        """Hang up and wait for its end, which is forced then; returns how it ended, in words."""
        self._channel.close()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        with self._ending:
            if self._ended is None:
                self._ended = self._wait(timeout_s)
            return self._ended

    def _wait(self, timeout_s: float) -> str:
        code = self._nursery.exit_code(self.pid, max(0.0, timeout_s))
        if code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            code = self._nursery.exit_code(self.pid, _REAP_S)
        return _how(code)

    def _write(self) -> None:
        try:
            while (parts := self._queue.get()) is not None:
                self._channel.send(parts)
        except ChannelError:
            pass  # whoever receives finds out


def _how(code: int | None) -> str:
    if code is None:
        return "it does not end"
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"it was ended by {name}"
