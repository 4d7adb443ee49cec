"""Binding a ZeroMQ socket, with errors for people."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import zmq

from tracker.daemon.net.endpoint import parse_bind
from tracker.errors import TrackdError

_WAYS_OUT = {
    errno.EADDRINUSE: "stop the program that listens there, or choose another port",
    errno.EADDRNOTAVAIL: "give an address of this machine",
    errno.ENODEV: "give an address of this machine",
    errno.EACCES: "choose a port above 1023",
}


def listen(socket: zmq.Socket[Any], address: str) -> str:
    """Bind `socket` to `address`; return where it listens, with the port that was chosen.

    A file that it makes for this can be opened by this user only.

    Raises:
        TrackdError: It cannot; the socket is still open.
    """
    path = _file_of(address)
    if path is not None:
        _check_folder(path.parent, address)
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
    endpoint = str(socket.getsockopt_string(zmq.LAST_ENDPOINT))
    path = _file_of(endpoint)
    if path is not None:
        path.chmod(0o600)
    return endpoint


def _file_of(address: str) -> Path | None:
    """The file of an `ipc://` address; None for another one, and where there is none yet."""
    name = address.removeprefix("ipc://")
    return None if name in (address, "*") or name.startswith("@") else Path(name)


def _check_folder(folder: Path, address: str) -> None:
    """Whoever can write to a folder can put a socket of his own in the place of this one."""
    try:
        status = folder.stat()
    except OSError as err:
        raise TrackdError(f"cannot listen on {address}: {str(err.strerror).lower()}") from err
    open_to_others = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    if open_to_others or status.st_uid not in (0, os.geteuid()):
        raise TrackdError(
            f"cannot listen on {address}: other users can change the folder {folder}",
            "choose a folder that only this user can write to",
        )
