"""Authenticator by CURVE keys: who is let in by them, and what each may do."""

import logging
import time
from collections.abc import Sequence
from typing import Any, Self

import zmq
from zmq.utils import z85

from tracker.daemon.access.allowed_clients import AllowedClients
from tracker.daemon.access.authenticator import Authenticator, Question, Verdict, prop
from tracker.daemon.access.backlog import SEALING_BYTES
from tracker.daemon.access.connections import Connection, ConnectionTable
from tracker.daemon.access.grants import Caller
from tracker.daemon.access.key_files import HOW, KeyFiles, read_keys, read_server_keys, write_keys
from tracker.daemon.config.schema import SecurityConfig
from tracker.daemon.net.endpoint import parse_bind
from tracker.errors import UsageError

__all__ = ["CurveAuthenticator", "KeyFiles", "read_keys", "write_keys"]

_LOG = logging.getLogger("trackd.keys")
_LAST_WORDS_S = 30.0  # so long the requests of a removed key are refused with a reason
SHUT_OUT_S = 60.0  # whose messages closed a socket to all
_KEY = "X-Trackd-Key"  # property of each message: the public key of its sender


class CurveAuthenticator(Authenticator):
    """The daemon's key, and the clients that it lets in.

    The `User-Id` of what clients send is the name of their key's file. A client whose key is
    removed gets nothing more within about a second: its requests are refused, and its connections
    to the data sockets are closed.

    Attributes:
        public_key: What clients must know to trust the daemon.
        clients: Who is let in.
    """

    _sealing_bytes = SEALING_BYTES

    def __init__(
        self, public_key: bytes, secret_key: bytes, clients: AllowedClients, most: int = 512
    ) -> None:
        super().__init__(most)
        self.public_key = public_key
        self.clients = clients
        self._secret_key = secret_key
        self._shut_out_until_s: dict[bytes, float] = {}  # by public key, allowed ones only

    @classmethod
    def from_config(
        cls, config: SecurityConfig, binds: Sequence[str], most: int = 512
    ) -> Self | None:
        """Read the keys; None where there are none and `binds` are all on this machine.

        Raises:
            UsageError: Others could come in unchecked, or a key cannot be read.
        """
        if config.server_key is None:
            if config.client_keys is not None:
                raise UsageError("security.client_keys does nothing without server_key", HOW)
            if config.streams:
                raise UsageError("security.streams does nothing without server_key", HOW)
            for bind in binds:
                if not parse_bind(bind).local:
                    raise UsageError(f"refusing to listen on {bind} without keys", HOW)
            return None
        if config.allow_users:
            raise UsageError(
                "security.allow_users does nothing with server_key", "give these users keys"
            )
        if config.client_keys is None:
            raise UsageError(
                "security.server_key without client_keys would let every client in",
                "put the public keys of the allowed clients into a folder and name it",
            )
        public_key, secret_key = read_server_keys(config.server_key)
        if not config.client_keys.is_dir():
            raise UsageError(f"security.client_keys: no such folder: {config.client_keys}")
        clients = AllowedClients(config.client_keys, config.default_role, config.streams)
        clients.reload()
        return cls(public_key, secret_key, clients, most)

    @property
    def refused(self) -> int:
        """Clients turned away so far because their key is not among `clients`.

        Those that fail earlier, without a key or with another server's, never get so far.
        """
        return self.refused_for["key"]

    @property
    def restricted(self) -> bool:
        """True if some clients may see some streams only."""
        return self.clients.restricted

    @property
    def tells_sources(self) -> bool:
        """Not all: it is for the role admin to know, in `stream.list`."""
        return False

    def _set_up(self, socket: zmq.Socket[Any]) -> None:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret_key)

    def _judge(self, question: Question) -> Verdict:
        if question.mechanism != b"CURVE" or len(question.credentials) != 1:
            return Verdict(400)
        key = z85.encode(question.credentials[0])
        client = self.clients.client_of(key)
        if client is not None and key in self._shut_out_until_s:
            self.refused_for["shut out"] += 1
            return Verdict(300)  # it may try again
        if client is not None:
            return Verdict(200, client.name, ((_KEY, key),))
        self.refused_for["key"] += 1
        text = "refused a client: its public key %s is not allowed (%d refused so far)"
        self._warn(text, key.decode(), reason="key")
        return Verdict(400)

    def _caller(self, frame: zmq.Frame, connection: Connection | None) -> Caller:
        key = prop(frame, _KEY)
        if key is None:
            return Caller("key ?", None, "?")
        client = self.clients.client_of(key.encode())
        name = prop(frame, "User-Id") or "?" if client is None else client.name
        grant = None if client is None else client.grant
        if connection is not None:
            connection.key, connection.grant = key.encode(), grant
        return Caller(f"key {name}", grant, name)

    def _shut_out(self, frame: zmq.Frame) -> None:
        key = prop(frame, _KEY)
        if key is not None:
            self._shut_out_until_s[key.encode()] = time.monotonic() + SHUT_OUT_S
            caller = self._caller(frame, None)
            _LOG.warning("%s is shut out for %g s", caller.name, SHUT_OUT_S)

    def _tick(self) -> None:
        """Close the connections of clients that may no longer see what they could.

        Each request is checked anyway: a connection for requests is left for some time, so that
        the client gets the reason. Subscriptions are checked when they come: who may see other
        streams by now connects again, and subscribes again.
        """
        now_s = time.monotonic()
        for key in [key for key, until_s in self._shut_out_until_s.items() if until_s <= now_s]:
            del self._shut_out_until_s[key]
        for table in self._tables:
            for connection in table.wanted():
                if connection.key is None:
                    continue
                client = self.clients.client_of(connection.key)
                if client is None:
                    self._revoke(table, connection)
                    continue
                connection.revoked_s = None
                before = connection.grant
                if table.publishes and before and client.grant.streams != before.streams:
                    connection.cut()

    def _revoke(self, table: ConnectionTable, connection: Connection) -> None:
        now_s = time.monotonic()
        if connection.revoked_s is None:
            connection.revoked_s = now_s
        if table.publishes or now_s >= connection.revoked_s + _LAST_WORDS_S:
            connection.cut()
            _LOG.info("closed a connection whose key was removed")
