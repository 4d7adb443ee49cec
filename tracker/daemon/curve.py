"""CURVE keys: their files, and who is let in by them."""

import errno
import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import zmq
from zmq.auth.certs import load_certificate
from zmq.auth.thread import ThreadAuthenticator

from tracker.daemon.bind import parse_bind
from tracker.daemon.config import SecurityConfig
from tracker.errors import OutputError, UsageError
from tracker.text_file import encoding_of

MAX_CLIENT_KEYS = 4096
MAX_KEY_FILE_BYTES = 64 * 1024
RECHECK_S = 1.0
WARN_EVERY_S = 10.0

_LOG = logging.getLogger("trackd.keys")
_DOMAIN = "trackd"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(rb"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_HOW = "make keys with `trackd keys new NAME` and set security.server_key and security.client_keys"


class KeyFiles(NamedTuple):
    """What `write_keys` wrote."""

    public: Path
    secret: Path


def write_keys(folder: Path, name: str) -> KeyFiles:
    """Make a key pair and write `NAME.key` (public) and `NAME.key_secret` (both, mode 0600).

    The files have the form that every ZeroMQ certificate reader takes. `folder` is made where it
    is missing.

    Raises:
        UsageError: The name cannot be a file name, or one of the files is there already.
        OutputError: They cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"cannot name keys {name!r}", "use letters, digits, '.', '_' and '-'")
    files = KeyFiles(folder / f"{name}.key", folder / f"{name}.key_secret")
    public, secret = (key.decode() for key in zmq.curve_keypair())
    public_line = f'curve\n    public-key = "{public}"\n'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            if path.exists():
                raise FileExistsError(errno.EEXIST, "exists", str(path))
        _write_new(files.secret, f'# Secret. Keep it.\n{public_line}    secret-key = "{secret}"\n')
        _write_new(files.public, f"# Public. Give it to whom you want to talk to.\n{public_line}")
    except FileExistsError as error:
        raise UsageError(
            f"{error.filename} exists", "choose another name, or remove it if nobody uses it"
        ) from error
    except OSError as error:
        raise OutputError(f"cannot write keys to {folder}: {error.strerror}") from error
    return files


def _write_new(path: Path, text: str) -> None:
    # The mode holds from the first moment, whatever the umask; a file that is there stays.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)


def read_keys(path: Path) -> tuple[bytes, bytes | None]:
    """Return the public key and, where the file has it, the secret key; 40 characters each.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds no key, or what it holds is none.
    """
    if path.stat().st_size > MAX_KEY_FILE_BYTES:
        raise ValueError("too large for a key file")
    try:
        public, secret = load_certificate(path)
    except ValueError:
        encoding = encoding_of(path.read_bytes())
        if encoding != "UTF-8":
            raise ValueError(f"{encoding} text; save it as UTF-8") from None
        raise ValueError("no public-key in it") from None
    for kind, key in (("public-key", public), ("secret-key", secret)):
        if key is not None and not _KEY.fullmatch(key):
            raise ValueError(f"its {kind} is not a key of 40 characters")
    return public, secret


class AllowedClients:
    """The public keys in a folder, `NAME.key`; read again when a file comes, goes or changes.

    The folder is looked at when a client connects, and at most once in `RECHECK_S` seconds, so
    for that long a removed key may still open the door. Who is connected stays so.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[tuple[str, int, int], ...] | None = None
        self._readable = True
        self._names: dict[bytes, str] = {}
        self._next_look_s = 0.0

    def __len__(self) -> int:
        return len(self._names)

    def name_of(self, key: bytes) -> str | None:
        """Return the name of the key's file; None for a key that is not allowed."""
        now_s = time.monotonic()
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + RECHECK_S
            self.reload()
        return self._names.get(key)

    def reload(self) -> None:
        """Read the folder if it changed. A folder that cannot be read lets nobody in."""
        try:
            with os.scandir(self._folder) as entries:
                seen = tuple(sorted(_sight(entry) for entry in entries if _is_key(entry)))
        except OSError as error:
            if self._readable:
                _LOG.error("no client is let in: %s: %s", self._folder, error.strerror)
            self._readable, self._seen, self._names = False, None, {}
            return
        self._readable = True
        if seen != self._seen:
            self._seen = seen
            self._names = self._read([name for name, *_ in seen])
            _LOG.info("%d client keys in %s", len(self._names), self._folder)

    def _read(self, file_names: Sequence[str]) -> dict[bytes, str]:
        names: dict[bytes, str] = {}
        for file_name in file_names[:MAX_CLIENT_KEYS]:
            path = self._folder / file_name
            try:
                key, _ = read_keys(path)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                _LOG.warning("client key %s is left out: %s", path, reason)
                continue
            names.setdefault(key, path.stem)
        if len(file_names) > MAX_CLIENT_KEYS:
            _LOG.warning("only the first %d keys of %s count", MAX_CLIENT_KEYS, self._folder)
        return names


def _is_key(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".key") and entry.is_file()


def _sight(entry: os.DirEntry[str]) -> tuple[str, int, int]:
    status = entry.stat()
    return entry.name, status.st_mtime_ns, status.st_size


class Security:
    """The daemon's key, and the clients that it lets in.

    Covers every socket of the context given to `start` that went through `apply`, and no other:
    ZeroMQ asks one authenticator per context. Without a running one those sockets let nobody in.

    Attributes:
        public_key: What clients must know to trust the daemon.
        clients: Who is let in.
        refused: Clients turned away so far because their key is not among `clients`. Those that
            fail earlier, without a key or with another server's, never get so far as to count.
    """

    def __init__(self, public_key: bytes, secret_key: bytes, clients: AllowedClients) -> None:
        self.public_key = public_key
        self.clients = clients
        self._secret_key = secret_key
        self._zap: _Zap | None = None

    @classmethod
    def from_config(cls, config: SecurityConfig, binds: Sequence[str]) -> Self | None:
        """Read the keys; None where there are none and `binds` are all on this machine.

        Raises:
            UsageError: Others could come in unchecked, or a key cannot be read.
        """
        if config.server_key is None:
            if config.client_keys is not None:
                raise UsageError("security.client_keys does nothing without server_key", _HOW)
            for bind in binds:
                if not parse_bind(bind).local:
                    raise UsageError(f"refusing to listen on {bind} without keys", _HOW)
            return None
        if config.client_keys is None:
            raise UsageError(
                "security.server_key without client_keys would let every client in",
                "put the public keys of the allowed clients into a folder and name it",
            )
        public_key, secret_key = _server_keys(config.server_key)
        if not config.client_keys.is_dir():
            raise UsageError(f"security.client_keys: no such folder: {config.client_keys}")
        clients = AllowedClients(config.client_keys)
        clients.reload()
        return cls(public_key, secret_key, clients)

    @property
    def refused(self) -> int:
        """See the class."""
        return 0 if self._zap is None else self._zap.refused

    def start(self, context: zmq.Context[Any]) -> None:
        """Begin to answer for the sockets of `context`; before these bind."""
        self._zap = _Zap(context, self.clients)
        self._zap.start()

    def stop(self) -> None:
        """End it; before the context is closed."""
        if self._zap is not None:
            self._zap.stop()

    def apply(self, socket: zmq.Socket[Any]) -> None:
        """Make `socket` a CURVE server; before it binds.

        The `User-Id` of what it receives is then the name of the client's key file.
        """
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret_key)
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN.encode())
        # Else libzmq lets everyone in when no authenticator answers.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def _server_keys(path: Path) -> tuple[bytes, bytes]:
    try:
        public_key, secret_key = read_keys(path)
    except OSError as error:
        raise UsageError(f"security.server_key: {path}: {error.strerror}", _HOW) from error
    except ValueError as error:
        raise UsageError(f"security.server_key: {path}: {error}", _HOW) from error
    if secret_key is None:
        raise UsageError(
            f"security.server_key: {path} holds no secret key", "name the .key_secret file"
        )
    if zmq.curve_public(secret_key) != public_key:
        raise UsageError(f"security.server_key: {path}: its two keys are no pair", _HOW)
    if sys.platform != "win32" and path.stat().st_mode & 0o077:
        _LOG.warning("the secret key %s can be read by other users; chmod 600 it", path)
    return public_key, secret_key


class _Zap(ThreadAuthenticator):
    """Answers libzmq's questions, one thread; all but `refused` belongs to that thread."""

    def __init__(self, context: zmq.Context[Any], clients: AllowedClients) -> None:
        super().__init__(context)
        self.refused = 0
        self._clients = clients
        self._name = ""
        self._next_warning_s = 0.0
        self.configure_curve_callback(_DOMAIN, self)

    def callback(self, domain: str, key: bytes) -> bool:
        """Is the key allowed?"""
        name = self._clients.name_of(key)
        if name is None:
            self.refused += 1
            self._warn(key)
            return False
        self._name = name
        return True

    def _warn(self, key: bytes) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_warning_s:  # a client that tries on and on must not fill the disk
            self._next_warning_s = now_s + WARN_EVERY_S
            text = "refused a client: its public key %s is not allowed (%d refused so far)"
            _LOG.warning(text, key.decode(), self.refused)

    def curve_user_id(self, client_public_key: bytes) -> str:
        """Name of the client that `callback` has just let in."""
        return self._name
