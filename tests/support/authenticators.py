"""Sockets behind an authenticator, and what may knock: by hand, and in the name of another user."""

import os
import socket as tcp
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from tracker.daemon.access.authenticator import Authenticator
from tracker.daemon.access.curve import CurveAuthenticator, read_keys, write_keys
from tracker.daemon.config.schema import DataConfig, SecurityConfig
from tracker.daemon.publish.publisher import Publisher

PATIENCE_S = 20.0
NOBODY = 65534

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


@contextmanager
def publishing_behind(authenticator: Authenticator, **config: object) -> Iterator[Publisher]:
    """A publisher on free ports, for whom `authenticator` lets in."""
    free = {"bind": "tcp://127.0.0.1:0", "latest_bind": "tcp://127.0.0.1:0"}
    with zmq.Context() as context:
        authenticator.start(context)
        publisher = Publisher(
            DataConfig.model_validate(free | config), authenticator, context=context
        )
        try:
            publisher.start()
            yield publisher
        finally:
            publisher.stop(2)
            authenticator.stop()


def connect(endpoint: str) -> tcp.socket:
    host, port = endpoint.removeprefix("tcp://").split(":")
    return tcp.create_connection((host, int(port)), timeout=PATIENCE_S)


def is_closed_after(endpoint: str, data: bytes) -> bool:
    """Whether the other side closes a connection that says `data` and then nothing."""
    with connect(endpoint) as socket:
        try:
            socket.sendall(data)
            while socket.recv(4096):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


def frame(body: bytes, flags: int = 0) -> bytes:
    """A frame of ZMTP 2 and 3."""
    return bytes([flags | 2]) + struct.pack(">Q", len(body)) + body


def old_frame(body: bytes) -> bytes:
    """A frame of ZMTP 1, which has its length first and its flags after it."""
    return b"\xff" + struct.pack(">Q", len(body) + 1) + b"\0" + body


def as_user(number: int, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python code as another user, once its modules are loaded."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can run a program as another user")
    change = f"import os\nos.setgroups([])\nos.setgid({number})\nos.setuid({number})\n"
    command = [
        sys.executable,
        "-c",
        "import encodings.idna, socket, sys, zmq\n" + change + code,
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


class Keyring:
    """Keys of a daemon and of clients, on disk."""

    def __init__(self, folder: Path) -> None:
        self.clients = folder / "clients"
        self.clients.mkdir()
        self._theirs = folder / "theirs"
        self._server = write_keys(folder, "server")

    def authenticator(self, **config: Any) -> CurveAuthenticator:
        """The authenticator that opens to those keys."""
        security = SecurityConfig.model_validate(
            {"server_key": self._server.secret, "client_keys": self.clients} | config
        )
        authenticator = CurveAuthenticator.from_config(security, [])
        assert authenticator is not None
        return authenticator

    def add(self, name: str, role: str = "") -> dict[str, Any]:
        """Allow a new client; return the options of its sockets."""
        files = write_keys(self._theirs, name)
        self.place(name, role)
        public, secret = read_keys(files.secret)
        return {
            "CURVE_SERVERKEY": read_keys(self._server.public)[0],
            "CURVE_PUBLICKEY": public,
            "CURVE_SECRETKEY": secret,
        }

    def place(self, name: str, role: str) -> None:
        """Give a client a role, in place of the one that it had; None at all for "none"."""
        for path in self.clients.rglob(f"{name}.key"):
            path.unlink()
        if role != "none":
            (self.clients / role).mkdir(exist_ok=True)
            data = (self._theirs / f"{name}.key").read_bytes()
            (self.clients / role / f"{name}.key").write_bytes(data)


@contextmanager
def watching(
    endpoint: str | None, options: dict[str, Any], *topics: str
) -> Iterator["zmq.Socket[bytes]"]:
    """A subscriber with the keys in `options`."""
    assert endpoint is not None
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        socket.rcvtimeo = round(1000 * PATIENCE_S)
        for name, value in options.items():
            socket.setsockopt(getattr(zmq, name), value)
        for topic in topics:
            socket.subscribe(topic)
        socket.connect(endpoint)
        yield socket
