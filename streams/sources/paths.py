"""Addresses of files and folders: a path, or a `file:` URL."""

import os
from urllib.parse import unquote_to_bytes

from streams.errors import SourceUsageError
from streams.options import SourceOptions
from streams.redaction import redact
from streams.sources.base import (
    PROBE,
    Address,
    SourceKind,
    check_options,
    has_prefix,
    probe_options,
)

_PROTOCOLS = "file,crypto,data"


def is_file_url(url: str) -> bool:
    """True where it begins with `file:` and is not the name of a file that is there."""
    return has_prefix(url, "file:") and not os.path.lexists(url)


def parse_file_url(url: str, settings: SourceOptions, platform: str) -> Address:
    """The address of the file that a `file:` URL names.

    Raises:
        SourceUsageError: It names none, or one of another host, or takes no such option.
    """
    return parse_path(_file_path(url), settings, platform)


def parse_path(path: str, settings: SourceOptions, platform: str) -> Address:
    """The address of a file or folder.

    Raises:
        SourceUsageError: It takes no such option.
    """
    check_options(settings, "a file", PROBE)
    options = probe_options(settings)
    return Address(
        SourceKind.PATH, path, path, None, options, protocols=_PROTOCOLS, settings=settings
    )


def _file_path(url: str) -> str:
    """The path of a `file:` URL (RFC 8089), with its percent signs decoded."""
    rest = url[len("file:") :]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise SourceUsageError(
                f"a file: address names another host: {redact(f'smb://{host}')[6:]}",
                "write file:///PATH for a file of this machine",
            )
        rest = slash + path
    path_bytes = unquote_to_bytes(rest)
    if not path_bytes or b"\0" in path_bytes:
        raise SourceUsageError("a file: address names no file", "write file:///PATH")
    return os.fsdecode(path_bytes)
