"""CURVE key files: made, read and checked."""

import errno
import logging
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import zmq
from zmq.auth.certs import load_certificate

from tracker.atomic import write_atomically
from tracker.errors import OutputError, UsageError
from tracker.protocol.roles import Role
from tracker.text_file import encoding_of

MAX_KEY_FILE_BYTES = 64 * 1024
HOW = "make keys with `trackd keys new NAME` and set security.server_key and security.client_keys"

_LOG = logging.getLogger("trackd.keys")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(rb"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


class KeyFiles(NamedTuple):
    """Files that `write_keys` wrote."""

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


def allow_key(public: Path, folder: Path, role: Role) -> Path:
    """Copy a client's public key to where a role's keys are, in place of any that it had there.

    Returns:
        The copy. Nothing of a secret key gets into it.

    Raises:
        UsageError: There is no public key in the file.
        OutputError: It cannot be written.
    """
    try:
        key, _ = read_keys(public)
    except OSError as error:
        raise UsageError(f"{public}: {error.strerror}", "give a NAME.key file") from error
    except ValueError as error:
        raise UsageError(f"{public}: {error}", "give a NAME.key file") from error
    made = folder / role.value / f"{public.stem}.key"
    try:
        made.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        write_atomically(made, f'curve\n    public-key = "{key.decode()}"\n'.encode(), mode=0o644)
        for other in Role:
            if other is not role:
                (folder / other.value / made.name).unlink(missing_ok=True)
        (folder / made.name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write a key to {made.parent}: {error.strerror}") from error
    return made


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


def read_server_keys(path: Path) -> tuple[bytes, bytes]:
    """Return the daemon's public and secret key.

    Raises:
        UsageError: There are none, or they do not belong together.
    """
    try:
        public_key, secret_key = read_keys(path)
    except OSError as error:
        raise UsageError(f"security.server_key: {path}: {error.strerror}", HOW) from error
    except ValueError as error:
        raise UsageError(f"security.server_key: {path}: {error}", HOW) from error
    if secret_key is None:
        raise UsageError(
            f"security.server_key: {path} holds no secret key", "name the .key_secret file"
        )
    if zmq.curve_public(secret_key) != public_key:
        raise UsageError(f"security.server_key: {path}: its two keys are no pair", HOW)
    if sys.platform != "win32" and path.stat().st_mode & 0o077:
        _LOG.warning("the secret key %s can be read by other users; chmod 600 it", path)
    return public_key, secret_key
