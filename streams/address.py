"""Source addresses: from what a person types to what is opened, and with which options."""

import sys
from pathlib import Path

from streams.options import SourceOptions
from streams.redaction import redact
from streams.sources.base import Address, SourceKind
from streams.sources.registry import find_scheme

__all__ = ["Address", "SourceKind", "kind_of", "local_path", "parse_address", "redact"]


def kind_of(url: str) -> SourceKind:
    """The family of sources that an address names.

    Raises:
        SourceUsageError: It is empty, or neither an address nor a path.
    """
    return find_scheme(url).kind


def parse_address(
    url: str, options: SourceOptions | None = None, *, platform: str = sys.platform
) -> Address:
    """The address of a source, with the format and the options that FFmpeg needs.

    Does not touch the network; on Windows `webcam:N` asks for the list of cameras.

    Args:
        url: A path, `file:PATH`, an address of the network, `webcam:N`, `/dev/videoN` or
            `lavfi:PATTERN`.
        options: What to ask of the source.
        platform: As `sys.platform`; decides how cameras are opened.

    Raises:
        SourceUsageError: The address is empty or of a kind that is not supported, or does not
            take an option.
        SourceNotFound: There is no such camera (Windows only; elsewhere opening it says so).
    """
    return find_scheme(url).parse(url, options or SourceOptions(), platform)


def local_path(url: str) -> Path | None:
    """The path that an address names; None where it names something else.

    Raises:
        SourceUsageError: As `kind_of`, or a `file:` address names no file of this machine.
    """
    scheme = find_scheme(url)
    if scheme.kind is not SourceKind.PATH:
        return None
    return Path(scheme.parse(url, SourceOptions(), sys.platform).location)
