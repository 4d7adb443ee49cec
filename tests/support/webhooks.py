"""The receiver of webhooks as a test sees it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

_PROGRAM = Path(__file__).with_name("webhook_receiver.py")


class Receiver:
    """Takes webhooks in a process of its own, which ends with the block.

    With `tls`, a certificate and its key, it speaks TLS alone.
    """

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        self._tls = tls or ()
        self._got = folder / "got.jsonl"
        self._got.touch()
        self._fails = folder / "got.jsonl.fails"

    def __enter__(self) -> Self:
        command = [sys.executable, str(_PROGRAM), str(self._got), *map(str, self._tls)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def stop(self) -> None:
        """End it; nobody listens on its port any more."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}/hook?token=hunter2"

    def answer(self, status: int | None) -> None:
        """Answer with this from now on; well again for None."""
        if status is None:
            self._fails.unlink()
        else:
            self._fails.write_text(str(status))

    def requests(self, answered: int | None = None) -> list[dict[str, Any]]:
        """Requests so far; those that were answered with a status."""
        got = [json.loads(line) for line in self._got.read_text().split("\n")[:-1]]
        return [one for one in got if answered in (None, one["answered"])]
