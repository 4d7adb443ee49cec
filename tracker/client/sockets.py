"""Sockets of both clients: endpoints, keys, keepalive, bounds."""

import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
import zmq.auth

from tracker.errors import UsageError
from tracker.text_file import encoding_of

DEFAULT_CONTROL = "tcp://127.0.0.1:5570"
DEFAULT_DATA = "tcp://127.0.0.1:5571"
RECEIVE_HWM = 64
"""Messages that wait for a slow reader. While they wait the newer ones are lost, and counted."""

_MAKE_KEYS = "make keys with `trackd keys new`"
_KEY = re.compile(rb"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")
_MAX_MESSAGE_BYTES = 64 * 2**20
_KEEPALIVE_IDLE_S = 10
_KEEPALIVE_EVERY_S = 5
_KEEPALIVE_COUNT = 3
_RECONNECT_MS = 100
_LONGEST_RECONNECT_MS = 2_000


@dataclass(frozen=True, slots=True)
class Keys:
    """The CURVE keys of a client, in Z85.

    Attributes:
        public: Its own public key.
        secret: Its own secret key.
        server: The daemon's public key.
    """

    public: bytes
    secret: bytes = field(repr=False)
    server: bytes


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of the daemon, and the keys that prove who asks."""

    control: str
    data: str
    keys: Keys | None


def endpoints(
    control: str | None,
    data: str | None,
    client_key: str | Path | None,
    server_key: str | Path | None,
) -> Endpoints:
    """Endpoints as given, or $TRACKD_CONTROL and $TRACKD_DATA, or a daemon on this machine.

    Raises:
        UsageError: One key without the other, or a key file that cannot be read.
    """
    return Endpoints(
        control or os.environ.get("TRACKD_CONTROL") or DEFAULT_CONTROL,
        data or os.environ.get("TRACKD_DATA") or DEFAULT_DATA,
        client_keys(client_key, server_key),
    )


def client_keys(client_key: str | Path | None, server_key: str | Path | None) -> Keys | None:
    """The keys in a client's secret file and the other side's public one; None for neither.

    Raises:
        UsageError: One without the other, or a file that cannot be read.
    """
    if client_key is None and server_key is None:
        return None
    if client_key is None or server_key is None:
        raise UsageError(
            "a client's key and the daemon's public key go together", "give both or neither"
        )
    public, secret = _read_certificate(Path(client_key))
    if secret is None:
        raise UsageError(f"{client_key} holds no secret key", "give the client's secret key file")
    server, _ = _read_certificate(Path(server_key))
    return Keys(public, secret, server)


def _read_certificate(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(path)
    except OSError as error:
        reason = error.strerror or "no such file"
        raise UsageError(f"cannot read the key file {path}: {reason}", "check the path") from error
    except ValueError as error:
        encoding = encoding_of(path.read_bytes())
        if encoding != "UTF-8":
            raise UsageError(f"{path} is {encoding} text", "save it as UTF-8") from error
        raise UsageError(f"{path} is no key file", _MAKE_KEYS) from error
    for key in (public, secret):
        if key is not None and not _KEY.fullmatch(key):
            raise UsageError(f"{path} holds a damaged key", _MAKE_KEYS)
    return public, secret


def new_routing_id() -> bytes:
    """A name by which the daemon knows one client over all its connections."""
    return b"trackd-" + secrets.token_hex(8).encode()


def connect_control(socket: "zmq.Socket[Any]", to: Endpoints, routing_id: bytes) -> None:
    """Connect a DEALER.

    A request waits for a connection here, not in a queue: one that was given up is never sent.

    Raises:
        UsageError: The endpoint is not one.
    """
    socket.setsockopt(zmq.ROUTING_ID, routing_id)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    _connect(socket, to.control, to.keys)


def connect_data(socket: "zmq.Socket[Any]", to: Endpoints, prefixes: list[bytes]) -> None:
    """Connect a SUB and subscribe.

    Raises:
        UsageError: The endpoint is not one.
    """
    socket.setsockopt(zmq.RCVHWM, RECEIVE_HWM)
    for prefix in prefixes:
        socket.setsockopt(zmq.SUBSCRIBE, prefix)
    _connect(socket, to.data, to.keys)


def _connect(socket: "zmq.Socket[Any]", endpoint: str, keys: Keys | None) -> None:
    for option, value in (
        (zmq.LINGER, 0),
        (zmq.MAXMSGSIZE, _MAX_MESSAGE_BYTES),
        # A peer that vanished is noticed in half a minute. ZeroMQ's own heartbeats would end the
        # process when a subscriber sleeps on a full queue: zeromq/libzmq#3937.
        (zmq.TCP_KEEPALIVE, 1),
        (zmq.TCP_KEEPALIVE_IDLE, _KEEPALIVE_IDLE_S),
        (zmq.TCP_KEEPALIVE_INTVL, _KEEPALIVE_EVERY_S),
        (zmq.TCP_KEEPALIVE_CNT, _KEEPALIVE_COUNT),
        (zmq.RECONNECT_IVL, _RECONNECT_MS),
        (zmq.RECONNECT_IVL_MAX, _LONGEST_RECONNECT_MS),
        (zmq.IPV6, int("[" in endpoint)),
    ):
        socket.setsockopt(option, value)
    if keys is not None:
        socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
        socket.curve_serverkey = keys.server
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        raise UsageError(
            f"cannot connect to {endpoint!r}: {error.strerror}", "give tcp://HOST:PORT"
        ) from error
