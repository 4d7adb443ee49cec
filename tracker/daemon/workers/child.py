"""Child process of a worker: its start, its channel, and its end."""

import contextlib
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import tracker
from tracker.daemon.workers.channel import Channel, ChannelError

MAX_QUEUED = 20_000
_STACKS_S = 0.5  # for the stacks of all threads to be written
_REAP_S = 5.0
_LOG = logging.getLogger("trackd.worker")


class Child:
    """One life of a worker process, from its start to its end.

    Sending never waits: a thread writes to the channel, and where the process reads nothing,
    `MAX_QUEUED` messages wait at most.
    """

    def __init__(self, name: str) -> None:
        """Start the process.

        Raises:
            OSError: The system gives no process, or no descriptors.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            root = str(Path(tracker.__file__).parents[1])
            path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
            descriptor = theirs.fileno()
            command = [sys.executable, "-P", "-m", "tracker.daemon.workers.main", str(descriptor)]
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[descriptor],
                    env=os.environ | {"PYTHONPATH": path},
                )
            except OSError:
                ours.close()
                raise
        self._channel = Channel(ours)
        self._queue: queue.Queue[list[bytes] | None] = queue.Queue(MAX_QUEUED)
        self._writer = threading.Thread(target=self._write, name=f"to-worker-{name}", daemon=True)
        self._writer.start()

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._process.pid

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

    def kill(self) -> None:
        """Have it write the stacks of its threads to the log, then end it, whatever it does.

        A process that was stopped goes on for that.
        """
        with contextlib.suppress(OSError):
            self._process.send_signal(signal.SIGUSR1)
            self._process.send_signal(signal.SIGCONT)
            time.sleep(_STACKS_S)
        self._process.kill()

    def end(self, timeout_s: float) -> str:
        """Hang up and wait for its end, which is forced then; returns how it ended, in words."""
        self._channel.close()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        try:
            code = self._process.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait(_REAP_S)
        return _how(code)

    def _write(self) -> None:
        try:
            while (parts := self._queue.get()) is not None:
                self._channel.send(parts)
        except ChannelError:
            pass  # whoever receives finds out


def _how(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"it was ended by {name}"
