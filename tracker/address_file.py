"""An address in a text, so that its password is on no command line and in no configuration."""

import stat
import sys
from pathlib import Path
from typing import BinaryIO

from tracker.errors import UsageError
from tracker.text_file import decode_text

_MAX_BYTES = 16384
_OTHERS = stat.S_IROTH | stat.S_IWOTH


def read_address(path: Path) -> str:
    """The address in a file, which holds nothing else.

    Raises:
        UsageError: There is no such file, or not one address in it.
    """
    try:
        with path.open("rb") as file:
            return only_address(file, str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "give a file") from error


def only_address(file: BinaryIO, name: str) -> str:
    """The only line of `file` that is not empty; `name` is what the file is called in errors.

    Raises:
        UsageError: There is none, or there are several.
    """
    data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{name} is too long for an address", "is it the right file?")
    try:
        lines = [line for line in decode_text(data).split("\n") if line.strip()]
    except ValueError as error:
        raise UsageError(f"{name}: {error}", "is it the right file?") from error
    if len(lines) != 1:
        raise UsageError(f"{name} holds {len(lines)} lines", "write one address into it")
    return lines[0].strip()


def warning_of(path: Path) -> str:
    """Warning for an address kept where other users can read or change it; "" for none."""
    if sys.platform == "win32" or not path.stat().st_mode & _OTHERS:
        return ""
    return f"other users can get at {path}; chmod 600 {path}"
