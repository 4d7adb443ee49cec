"""Commands of bridges in processes of their own, beside a made-up daemon that sends made frames."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.fake_daemon import FakeDaemon
from tests.support.warm_python import python
from tracker.daemon.messages import Tracked

ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0
_FRAME_EVERY_S = 0.03


class Program:
    """A process whose lines on standard output and error come as they are printed.

    As a context manager it is killed at the end, if it has not ended.
    """

    def __init__(
        self, *argv: str, python: Sequence[str] = (sys.executable,), **environment: str
    ) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self.all_lines: list[str] = []
        self.process = subprocess.Popen(
            [*python, *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.all_lines.append(line.rstrip("\n"))
            self.lines.put(line.rstrip("\n"))

    def line(self, has: str = "") -> str:
        """The next line with this text in it."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {has!r} in {self.all_lines}") from None
            if has in line:
                return line

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *raised: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def trackd(fake: FakeDaemon, *argv: str, **environment: str) -> Program:
    """A `trackd` command that talks to the daemon."""
    door = {"TRACKD_CONTROL": fake.control, "TRACKD_DATA": fake.data}
    return Program("-m", "tracker.cli.main", *argv, python=python(), **door, **environment)


@contextmanager
def sending(fake: FakeDaemon, made: Callable[[int], Tracked]) -> Iterator[None]:
    """Let the daemon send frame after frame within the block."""
    stop = threading.Event()

    def send() -> None:
        seq = 0
        while not stop.wait(_FRAME_EVERY_S):
            fake.publisher.tracked(made(seq))
            seq += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
