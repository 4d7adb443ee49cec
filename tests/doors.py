"""Sockets behind a door, and what may knock: by hand, and in the name of another user."""

import os
import socket as tcp
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq

from tracker.daemon.config import DataConfig
from tracker.daemon.door import Door
from tracker.daemon.publisher import Publisher

PATIENCE_S = 20.0
NOBODY = 65534

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


@contextmanager
def publishing_behind(door: Door, **config: object) -> Iterator[Publisher]:
    """A publisher on free ports, for whom `door` lets in."""
    free = {"bind": "tcp://127.0.0.1:0", "latest_bind": "tcp://127.0.0.1:0"}
    with zmq.Context() as context:
        door.start(context)
        publisher = Publisher(DataConfig.model_validate(free | config), door, context=context)
        try:
            publisher.start()
            yield publisher
        finally:
            publisher.stop(2)
            door.stop()


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
    command = [sys.executable, "-c", "import encodings.idna, socket, sys, zmq\n" + change + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
