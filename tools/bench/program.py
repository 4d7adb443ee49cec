"""Programs that run beside a measurement, and what they say."""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from typing import Self

from tracker.errors import TrackdError

PATIENCE_S = 120.0
_LOG_BYTES = 65536


class Program:
    """A program in a process of its own; a context manager that kills it.

    Args:
        words: Arguments of Python where the first is an option or a script, else of a program.
    """

    def __init__(self, *words: str) -> None:
        python = words[0].startswith("-") or words[0].endswith(".py")
        self._command = [sys.executable, *words] if python else [*words]

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        return self

    def wait_for(self, text: str) -> str:
        """The first line with a text in it.

        Raises:
            TrackdError: It ended before, or did not say so within two minutes.
        """
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            ended = self.process.poll() is not None
            *lines, _ = os.pread(self._log.fileno(), _LOG_BYTES, 0).decode().split("\n")
            for line in lines:
                if text in line:
                    return line
            if ended:
                break
            time.sleep(0.05)
        raise TrackdError(f"{shlex.join(self._command)}: {self._last_line() or 'said nothing'}")

    def end(self) -> str:
        """Ask it to end; its last line."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        return self._last_line()

    def _last_line(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        said = os.pread(self._log.fileno(), _LOG_BYTES, max(0, size - _LOG_BYTES))
        return said.decode(errors="replace").strip().rpartition("\n")[2]

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()
