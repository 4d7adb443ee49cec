"""Binding a ZeroMQ socket, with errors for people."""

import errno
import os
from typing import Any

import zmq

from tracker.daemon.bind import parse_bind
from tracker.errors import TrackdError

_WAYS_OUT = {
    errno.EADDRINUSE: "stop the program that listens there, or choose another port",
    errno.EADDRNOTAVAIL: "give an address of this machine",
    errno.ENODEV: "give an address of this machine",
    errno.EACCES: "choose a port above 1023",
}


def listen(socket: zmq.Socket[Any], address: str) -> str:
    """Bind `socket` to `address`; return where it listens, with the port that was chosen.

    Raises:
        TrackdError: It cannot; the socket is still open.
    """
    socket.setsockopt(zmq.IPV6, int(parse_bind(address).ipv6))
    try:
        socket.bind(address)
    except zmq.ZMQError as err:
        code = err.errno or 0
        reason = os.strerror(code) if code in _WAYS_OUT else err.strerror
        raise TrackdError(
            f"cannot listen on {address}: {str(reason).lower()}",
            _WAYS_OUT.get(code, "give tcp://HOST:PORT"),
        ) from err
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)
