"""The folder of public keys of the clients that are let in, and what each key is good for."""

import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tracker.daemon.access.grants import Grant
from tracker.daemon.access.key_files import read_keys
from tracker.protocol.roles import Role

MAX_CLIENT_KEYS = 4096
RECHECK_S = 1.0

_LOG = logging.getLogger("trackd.keys")


@dataclass(frozen=True, slots=True)
class AllowedClient:
    """Client that has a key: the name of its file, and what it may do."""

    name: str
    grant: Grant


@dataclass(frozen=True, slots=True)
class _Sight:
    """A key file as the folder shows it; read again when any of this changes."""

    place: str
    name: str
    inode: int
    changed_ns: int
    size: int


class AllowedClients:
    """The public keys in a folder; read again when a file comes, goes or changes.

    `watch/NAME.key`, `prompt/NAME.key` and `admin/NAME.key` have the role that their folder is
    named after; a key beside these folders has `default_role`. The folder is looked at at most
    once in `RECHECK_S` seconds: for so long a removed key may still be served.

    Args:
        folder: Where the keys are.
        default_role: Of the keys in `folder` itself.
        streams: Patterns of the streams that a key may see, by the name of its file; all where
            it is not listed.
    """

    def __init__(
        self,
        folder: Path,
        default_role: Role = Role.WATCH,
        streams: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._folder = folder
        self._places = {"": default_role} | {role.value: role for role in Role}
        self._streams = {name: tuple(patterns) for name, patterns in (streams or {}).items()}
        self._seen: tuple[_Sight, ...] | None = None
        self._readable = True
        self._clients: dict[bytes, AllowedClient] = {}
        self._next_look_s = 0.0

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def restricted(self) -> bool:
        """True if there are clients that may see some streams only."""
        return bool(self._streams)

    def client_of(self, key: bytes) -> AllowedClient | None:
        """The client that has this key; None for a key that is not allowed."""
        now_s = time.monotonic()
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + RECHECK_S
            self.reload()
        return self._clients.get(key)

    def summary(self) -> str:
        """Number of keys of each role, for people."""
        counts = Counter(client.grant.role for client in self._clients.values())
        roles = ", ".join(f"{counts[role]} {role}" for role in Role if counts[role])
        return f"{len(self)} client keys in {self._folder}" + (f": {roles}" if roles else "")

    def reload(self) -> None:
        """Read the folder if it changed. A folder that cannot be read lets nobody in."""
        try:
            seen = tuple(sight for place in self._places for sight in self._look(place))
        except OSError as error:
            if self._readable:
                _LOG.error("no client is let in: %s: %s", self._folder, error.strerror)
            self._readable, self._seen, self._clients = False, None, {}
            return
        self._readable = True
        if seen != self._seen:
            self._seen = seen
            self._clients = self._read(seen)
            self._tell(seen)

    def _look(self, place: str) -> list[_Sight]:
        """The key files of one role, by name; none where its folder is not there."""
        folder = self._folder / place
        if place and not folder.is_dir():
            return []
        with os.scandir(folder) as entries:
            return sorted((_sight(place, e) for e in entries if _is_key(e)), key=lambda s: s.name)

    def _read(self, seen: Sequence[_Sight]) -> dict[bytes, AllowedClient]:
        clients: dict[bytes, AllowedClient] = {}
        for sight in seen[:MAX_CLIENT_KEYS]:
            path = self._folder / sight.place / sight.name
            try:
                key, _ = read_keys(path)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                _LOG.warning("client key %s is left out: %s", path, reason)
                continue
            grant = Grant(self._places[sight.place], self._streams.get(path.stem))
            before = clients.get(key)
            if before is not None and before.grant.role is not grant.role:
                _LOG.warning("client key %s has two roles; the lesser one counts", path)
            if before is None or before.grant.role.covers(grant.role):
                clients[key] = AllowedClient(path.stem, grant)
        if len(seen) > MAX_CLIENT_KEYS:
            _LOG.warning("only the first %d keys of %s count", MAX_CLIENT_KEYS, self._folder)
        return clients

    def _tell(self, seen: Sequence[_Sight]) -> None:
        _LOG.info("%s", self.summary())
        loose = sum(not sight.place for sight in seen)
        if loose:
            text = "%d of these keys are in the folder of no role, and have the role %s"
            _LOG.info(text, loose, self._places[""])
        with suppress(OSError):
            if sys.platform != "win32" and self._folder.stat().st_mode & 0o022:
                _LOG.warning("other users can add keys to %s; chmod go-w it", self._folder)


def _is_key(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".key") and entry.is_file()


def _sight(place: str, entry: os.DirEntry[str]) -> _Sight:
    status = entry.stat()
    changed_ns = max(status.st_mtime_ns, status.st_ctime_ns)
    return _Sight(place, entry.name, status.st_ino, changed_ns, status.st_size)
