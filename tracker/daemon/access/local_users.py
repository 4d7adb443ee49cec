"""Authenticator by user ids: for programs of the daemon's own user, and of root, on its machine."""

import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import zmq

from tracker.daemon.access.authenticator import Authenticator, Question, Verdict
from tracker.daemon.access.connections import Connection
from tracker.daemon.access.grants import LOCAL, Caller
from tracker.daemon.access.peers import PeerUsers
from tracker.errors import UsageError

_LOG = logging.getLogger("trackd.keys")
_ROOT = 0
_LOOKS = 2
_CLOSE_WITHIN_S = 1.0
_LOOK_EVERY_S = 0.001


class LocalUserAuthenticator(Authenticator):
    """Lets in the programs of some users of this machine, and closes all other connections.

    A question of libzmq does not say which connection it is about. So it is answered once every
    connection of somebody else that was there by then is closed: none of these gets through.

    Args:
        users: Names or numbers of users besides the daemon's own and root.
        most: Connections to each socket.

    Raises:
        UsageError: There is no such user.
    """

    def __init__(self, users: Sequence[str | int] = (), most: int = 512) -> None:
        super().__init__(most)
        self._allowed = {_ROOT, _own_user(), *map(_number_of, users)}
        self._users = PeerUsers()

    def start(self, context: zmq.Context[Any]) -> None:
        """Begin to answer for the sockets of `context`; before these bind."""
        if not self._users.tells_tcp:
            _LOG.warning(
                "this system does not tell whose program connects: without keys, programs of "
                "all its users are let in"
            )
        super().start(context)

    def stop(self) -> None:
        """End it; before the context is closed."""
        super().stop()
        self._users.close()

    def _set_up(self, socket: zmq.Socket[Any]) -> None:
        """Nothing: authentication is that of NULL."""

    def _meet(self, connections: Sequence[Connection]) -> None:
        unknown = list(connections)
        for _ in range(_LOOKS):  # a table may move while it is read
            self._users.look_again()
            for connection in unknown:
                connection.user = self._users.user_of(connection.descriptor)
            unknown = [connection for connection in unknown if connection.user is None]
            if not unknown:
                break
        for connection in connections:
            if not self._welcome(connection):
                self._turn_away(connection)

    def _welcome(self, connection: Connection) -> bool:
        if connection.user is None:
            return not self._users.tells_tcp
        return connection.user in self._allowed

    def _turn_away(self, connection: Connection) -> None:
        connection.cut()
        self.refused_for["user"] += 1
        self._warn(
            "refused a connection of uid %s; security.allow_users lets other users in "
            "(%d refused so far)",
            "unknown" if connection.user is None else connection.user,
            reason="user",
        )

    def _judge(self, question: Question) -> Verdict:
        if question.mechanism != b"NULL":
            return Verdict(400)
        strangers = [
            (table, connection)
            for table in self._tables
            for connection in table.connections.values()
            if not self._welcome(connection)
        ]
        until_s = time.monotonic() + _CLOSE_WITHIN_S
        while any(table.holds(stranger) for table, stranger in strangers):
            if time.monotonic() > until_s:
                return Verdict(300)
            time.sleep(_LOOK_EVERY_S)
            self._catch_up()
        return Verdict(200)

    def _caller(self, frame: zmq.Frame, connection: Connection | None) -> Caller:
        if connection is None or connection.user is None:
            return LOCAL
        return Caller(f"uid {connection.user}", LOCAL.grant)


def _own_user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else _ROOT


def _number_of(user: str | int) -> int:
    if isinstance(user, int):
        return user
    try:
        import pwd

        return pwd.getpwnam(user).pw_uid
    except (ImportError, KeyError):
        raise UsageError(
            f"security.allow_users: there is no user {user!r}", "give a name or a number of a user"
        ) from None
