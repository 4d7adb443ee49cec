"""User ids of the programs at the other end of connections on this machine, from the kernel."""

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

_PROC = Path("/proc/net")
_TABLES = ("tcp", "tcp6")
_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address as IPv6 has it
_CREDENTIALS = struct.Struct("iII")  # of SO_PEERCRED: process, user, group


@contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A socket of somebody else, to look at; it is not closed.

    Raises:
        OSError: The descriptor is not a socket, or no longer one.
    """
    sock = socket.socket(fileno=descriptor)
    try:
        yield sock
    finally:
        sock.detach()


class PeerUsers:
    """Looks up who is at the other end of connections.

    The kernel's tables stay open, for a time when no descriptor is to be had.

    Attributes:
        tells_tcp: This system says so of TCP connections.
    """

    def __init__(self) -> None:
        self._files: dict[str, TextIO] = {}
        self._texts: dict[str, str] = {}
        for table in _TABLES:
            with suppress(OSError):
                self._files[table] = (_PROC / table).open(encoding="ascii")
        self.tells_tcp = "tcp" in self._files

    def close(self) -> None:
        """Free the descriptors."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def look_again(self) -> None:
        """Look at connections as they are from now on; until then each table is read once."""
        self._texts.clear()

    def user_of(self, descriptor: int) -> int | None:
        """User id of the program at the other end; None where it is not known, or has gone."""
        try:
            with borrowed(descriptor) as sock:
                if sock.family == getattr(socket, "AF_UNIX", None):
                    return _user_of_unix(sock)
                return self._user_of_tcp(sock.getpeername(), sock.getsockname())
        except (OSError, ValueError):
            return None

    def _user_of_tcp(self, theirs: tuple[str, int], ours: tuple[str, int]) -> int | None:
        for table in self._files:
            ends = [_as_in(table, end) for end in (theirs, ours)]
            if None in ends:
                continue
            user = self._find(table, f" {ends[0]} {ends[1]} ")
            if user is not None:
                return user
        return None

    def _find(self, table: str, ends: str) -> int | None:
        text = self._texts.get(table)
        if text is None:
            self._files[table].seek(0)
            text = self._texts[table] = self._files[table].read()
        start = text.find(ends)
        if start < 0:
            return None
        # state, queues, timer, retransmissions, user, timeout, inode
        fields = text[start + len(ends) : text.index("\n", start)].split()
        # What its program has closed has no inode, and is shown as root's.
        return int(fields[4]) if fields[6] != "0" else None


def _user_of_unix(sock: socket.socket) -> int | None:
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(data)
    return int(user)


def _as_in(table: str, end: tuple[str, int]) -> str | None:
    """An address and port as the kernel's table writes them; None where it cannot hold them."""
    address = ipaddress.ip_address(end[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    packed = (mapped or address).packed
    if table == "tcp6" and len(packed) == 4:
        packed = _MAPPED + packed
    if len(packed) != (4 if table == "tcp" else 16):
        return None
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    shown = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    return f"{shown}:{end[1]:04X}"
