"""Addresses of sources, the interface of an open one, and the row that a scheme has."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from streams.errors import SourceUsageError
from streams.info import SourceInfo, SourceStats
from streams.options import SourceOptions

if TYPE_CHECKING:
    from streams.access.policy import SourcePolicy
    from streams.frame import Frame
    from streams.packet_tap import PacketTap

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]|%[01][0-9A-Fa-f]|%7[Ff]")

#: Options with which FFmpeg finds out what a source holds.
PROBE = frozenset({"analyzeduration", "probesize"})


class SourceKind(StrEnum):
    """The families of sources, which differ in how they fail."""

    PATH = "path"
    NETWORK = "network"
    CAMERA = "camera"
    PATTERN = "pattern"


@dataclass(frozen=True, slots=True)
class Address:
    """Parsed address of a source, as PyAV needs it.

    Attributes:
        kind: The family of the source.
        shown: The address for people: without credentials.
        location: What is opened. Holds credentials: never show it.
        format: Name of FFmpeg's input format; None to detect it.
        options: Options of that format.
        scheme: In lower case; "" for what has none.
        protocols: The protocols that FFmpeg may use, also for what a playlist names; "" for
            those that its format uses by itself.
        formats: The formats that FFmpeg may find in it; "" for any.
        settings: What was asked for.
        port: Of a network address that names none; 0 for no usual one.
        no_video_hint: What to do where there is no video to be read.
    """

    kind: SourceKind
    shown: str
    location: str = field(repr=False)
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    scheme: str = ""
    protocols: str = ""
    formats: str = ""
    settings: SourceOptions = field(default_factory=SourceOptions)
    port: int = 0
    no_video_hint: str = "check the path, and that it is a video that FFmpeg can play"


class Source(Protocol):
    """Frames in order, once; a context manager that closes the input.

    Iterating raises a StreamError where the source fails; it ends where the source ends.
    """

    info: SourceInfo
    stats: SourceStats

    def __iter__(self) -> "Iterator[Frame]":
        """Return the one iterator over the frames; a second call goes on where it stands."""
        ...

    def close(self) -> None:
        """Close the input; no more frames come."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """Arguments of `streams.open_source` beside the address and its options."""

    stream: str
    open_timeout_s: float
    read_timeout_s: float
    poll_stills: bool
    stop: threading.Event | None
    max_pixels: int
    policy: "SourcePolicy | None"
    tap: "PacketTap | None"


@dataclass(frozen=True, slots=True)
class Scheme:
    """Registry row of a kind of address.

    Attributes:
        kind: The family of its sources.
        example: As people write it, for the list in errors; "" where another row stands for it.
        claims: Whether an address is one of it, by its text.
        parse: Makes the address, for the source options that were given and a `sys.platform`;
            raises `SourceUsageError` for an option that it does not take.
        open: Opens it. Whatever it opens, `OpenOptions.policy` must be asked before.
    """

    kind: SourceKind
    example: str
    claims: Callable[[str], bool]
    parse: Callable[[str, SourceOptions, str], Address]
    open: Callable[[Address, OpenOptions], Source]


def check_options(settings: SourceOptions, what: str, taken: frozenset[str]) -> None:
    """Refuse options that mean nothing for this kind of source.

    Raises:
        SourceUsageError: There is one.
    """
    for name in settings.given:
        if name not in taken:
            known = ", ".join(sorted(taken)) or "none"
            raise SourceUsageError(f"source option {name} is not for {what}", f"it takes {known}")


def check_controls(text: str, what: str) -> None:
    """Refuse what could end a line of a request or of a log, percent-encoded or not."""
    if _CONTROL.search(text):
        raise SourceUsageError(f"a {what} address holds control characters", "leave them out")


def has_prefix(url: str, prefix: str) -> bool:
    """True where an address begins with `prefix`, in lower case, in whatever case."""
    return url[: len(prefix)].lower() == prefix


def probe_options(settings: SourceOptions) -> dict[str, str]:
    """FFmpeg's options for finding out what a source holds."""
    return {name: str(value) for name, value in settings.given.items() if name in PROBE}
