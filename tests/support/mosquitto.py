"""An MQTT broker and a subscriber, mosquitto's, each in a process of its own."""

import getpass
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.tracked_frames import wait_until
from tools.serving import free_ports

SKIP = pytest.mark.skipif(
    shutil.which("mosquitto") is None or shutil.which("mosquitto_sub") is None,
    reason="needs mosquitto and mosquitto_sub: apt install mosquitto mosquitto-clients",
)


class Broker:
    """A broker on a free port that keeps sessions on the disk; ends with the block.

    With `password` it lets in the user `camera` alone; with `tls`, a certificate and its key, it
    speaks TLS alone.
    """

    def __init__(
        self, folder: Path, password: str = "", tls: tuple[Path, Path] | None = None
    ) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            f"user {getpass.getuser()}",  # not one who cannot read the folder
            f"allow_anonymous {'false' if password else 'true'}",
        ]
        if password:
            users = folder / "users"
            subprocess.run(
                ["mosquitto_passwd", "-b", "-c", str(users), "camera", password], check=True
            )
            lines.append(f"password_file {users}")
        if tls is not None:
            lines += [f"certfile {tls[0]}", f"keyfile {tls[1]}"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        log = (self.folder / "mosquitto.log").open("ab")
        command = ["mosquitto", "-v", "-c", str(self.folder / "mosquitto.conf")]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        wait_until(self._listens)

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self.folder / "mosquitto.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it; what its sessions wait for is on the disk then."""
        self.process.terminate()
        self.process.wait(20)

    def taken(self, client_id: str) -> int:
        """Messages from a client that are not retained; one that came twice counts twice."""
        log = (self.folder / "mosquitto.log").read_text()
        return len(re.findall(rf"Received PUBLISH from {client_id} \(d\d, q1, r0", log))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()


class Subscriber:
    """`mosquitto_sub` with a session of its own, which connects again by itself."""

    def __init__(self, broker: Broker, topic: str, *options: str) -> None:
        self._path = broker.folder / f"got-{topic.translate(str.maketrans('/#+', '___'))}"
        command = ["mosquitto_sub", "-p", str(broker.port), "-c", "-i", self._path.name, "-q", "1"]
        command += ["-t", topic, "-F", "%j", *options]
        with self._path.open("wb") as got:
            self._process = subprocess.Popen(command, stdout=got, stderr=subprocess.DEVNULL)
        wait_until(lambda: self._path.name in (broker.folder / "mosquitto.log").read_text())

    def messages(self) -> list[dict[str, Any]]:
        """Messages so far: `topic`, `retain` and `payload`, as text, each."""
        lines = self._path.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def events(self) -> list[dict[str, Any]]:
        """Payloads so far, of JSON."""
        return [json.loads(message["payload"]) for message in self.messages()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
