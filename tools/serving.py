"""`trackd serve` in a process of its own, with real sockets."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import yaml

from tracker.client import Client

READY_S = 300.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass
class Daemon:
    """A daemon with its configuration in `folder`; a context manager that ends it.

    Attributes:
        python: The command of the interpreter.
        environment: Of the process, beside ours.
        ready_s: Seconds from its last start until it was ready.
    """

    python: ClassVar[tuple[str, ...]] = (sys.executable,)
    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        control, data, latest, http = free_ports(4)
        self.config = {
            "control": {"bind": f"tcp://127.0.0.1:{control}"},
            "data": {
                "bind": f"tcp://127.0.0.1:{data}",
                "latest_bind": f"tcp://127.0.0.1:{latest}",
            },
            "http": {"port": http},
            "retry": {"first_s": 0.2, "longest_s": 1.0},
        } | self.config
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "trackd.yaml"
        self.log = self.folder / "log.txt"
        self.ready_s = 0.0

    def client(self, **options: Any) -> Client:
        """A client of this daemon."""
        options = {"timeout_s": 60.0} | options
        return Client(self.config["control"]["bind"], self.config["data"]["bind"], **options)

    def start(self) -> Self:
        """Start it and wait until it is ready."""
        self.write_config()
        command = [*self.python, "-m", "tracker.cli.main", "serve", "--config", str(self.path)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=os.environ | self.environment
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def _wait_until_ready(self) -> None:
        started_s = time.monotonic()
        while self.http("/readyz")[0] != 200:
            assert self.process.poll() is None, self.log.read_text()
            self.ready_s = time.monotonic() - started_s
            assert self.ready_s < READY_S, self.log.read_text()
            time.sleep(0.1)

    def write_config(self) -> None:
        """Write the configuration as it now is."""
        self.path.write_text(yaml.safe_dump(self.config))

    def http(self, path: str) -> tuple[int, str]:
        """Status and text of an HTTP page; (0, "") where nobody listens."""
        url = f"http://127.0.0.1:{self.config['http']['port']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as err:
            return err.code, ""
        except OSError:
            return 0, ""

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to drain, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        if error is not None:
            print(self.log.read_text(), file=sys.stderr)


def run_trackd(*arguments: str, timeout_s: float = 300.0) -> "subprocess.CompletedProcess[str]":
    """Run a `trackd` command in a process of its own, by the interpreter of daemons."""
    return subprocess.run(
        [*Daemon.python, "-m", "tracker.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env=os.environ | {"TRACKD_DEBUG": ""},
    )


def json_lines(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a text that has one a line."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
