"""One file over HTTP: resumed where it broke, never half-written under its own name.

The bytes go to `NAME.part`, and what the server said of the file to `NAME.part.json`. A later
run asks for the rest only if the server still holds the same file (If-Range).
"""

import contextlib
import http
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import Protocol

from tracker.errors import ModelError, OutputError, UsageError
from tracker.models.digest import file_sha256

_ATTEMPTS = 5
_CHUNK_BYTES = 1 << 16
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})

OnProgress = Callable[[int, int | None], None]
"""Called with the bytes on disk so far and the size of the file, None where it is unknown."""


class _BrokenError(Exception):
    """The transfer stopped before its end; another attempt may go on."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Identity of the file on the server that the bytes of a `.part` belong to."""

    url: str
    validator: str


class _Response(Protocol):
    status: int
    headers: Message

    def read(self, amount: int, /) -> bytes: ...


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    on_progress: OnProgress,
    timeout_s: float = 30.0,
    backoff_s: float = 1.0,
) -> None:
    """Fetch `url` into `target`, going on from what an earlier run left.

    Args:
        url: An http or https address.
        target: The file to make; its directory is made too.
        sha256: Hex digest that the file must have; None checks the size only.
        on_progress: Called after every chunk.
        timeout_s: Longest silence of the server.
        backoff_s: Pause before the second attempt; it doubles each time.

    Raises:
        UsageError: The address is not http or https.
        ModelError: The server cannot be reached, refuses, breaks off again and again, or sends
            another file than expected.
        OutputError: The file cannot be written.
    """
    _check_address(url)
    with _writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    transfer = _Transfer(url, target, on_progress, timeout_s)
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(backoff_s * 2 ** (attempt - 1))
        try:
            transfer.run()
            break
        except _BrokenError as err:
            reason = str(err)
    else:
        raise ModelError(
            f"the transfer of {_without_query(url)} broke {_ATTEMPTS} times ({reason}); "
            f"{transfer.part_bytes} bytes are kept in {transfer.part}",
            "run the same command again to go on from there",
        )
    transfer.finish(sha256)


def _check_address(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isascii()
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"cannot download from {url!r}", "give an http:// or https:// address")
    if parts.username is not None:
        raise UsageError("the address holds a user name", "give one without credentials")


def _without_query(url: str) -> str:
    """Return what of an address may be shown and kept: its query may hold a secret."""
    return urllib.parse.urlsplit(url)._replace(query="", fragment="").geturl()


class _Transfer:
    """The `.part` of one target, filled by one or more requests."""

    def __init__(self, url: str, target: Path, on_progress: OnProgress, timeout_s: float) -> None:
        self._url = url
        self._shown_url = _without_query(url)
        self._target = target
        self._on_progress = on_progress
        self._timeout_s = timeout_s
        self._received = False
        self.part = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")

    @property
    def part_bytes(self) -> int:
        """Bytes kept so far."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def run(self) -> None:
        """Make one request and write what it brings; return once the file is complete.

        Raises:
            _BrokenError: The end was not reached.
        """
        origin = self._origin()
        start = self.part_bytes if origin is not None else 0
        request = urllib.request.Request(self._url, headers={"User-Agent": "trackd"})
        if origin is not None and start:
            request.add_header("Range", f"bytes={start}-")
            request.add_header("If-Range", origin.validator)
        try:
            with self._open(request, start) as response:
                self._receive(response, start)
        except urllib.error.HTTPError as err:
            with err:
                self._refused(err, start)

    @contextlib.contextmanager
    def _open(self, request: urllib.request.Request, start: int) -> Iterator[_Response]:
        """Send the request; what fails before the first byte ever is not worth another try."""
        try:
            response = urllib.request.urlopen(request, timeout=self._timeout_s)
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.HTTPException, UnicodeError) as err:
            reason = _reason(err)
            if self._received:
                raise _BrokenError(reason) from err
            kept = f"; {start} bytes of it are kept" if start else ""
            raise ModelError(
                f"cannot reach {self._shown_url}: {reason}{kept}",
                "check the network, then run the same command again",
            ) from err
        with response:
            yield response

    def _receive(self, response: _Response, start: int) -> None:
        if response.headers.get_content_type() == "text/html":
            raise ModelError(
                f"{self._shown_url} answered with a web page instead of a file",
                "check the address, and whether the network wants a login",
            )
        if response.status == http.HTTPStatus.PARTIAL_CONTENT:
            first, total = _content_range(response.headers)
            if first != start:
                self._discard()
                raise _BrokenError("the server sent another part of the file than it was asked for")
        else:
            start, total = 0, _content_length(response.headers)
            self._begin(response.headers)
        with _writing(self.part), self.part.open("r+b") as file:
            file.seek(start)
            while chunk := _read(response):
                file.write(chunk)
                start += len(chunk)
                self._received = True
                self._on_progress(start, total)
            file.flush()
            os.fsync(file.fileno())
        if total is not None and start != total:
            raise _BrokenError(f"it ended after {start} of {total} bytes")

    def _refused(self, err: urllib.error.HTTPError, start: int) -> None:
        """Return if the refusal means that the file is complete already."""
        if err.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            if _content_range(err.headers)[1] == start:
                return
            self._discard()
            raise _BrokenError("the file on the server is shorter than the kept part")
        if err.code in _PASSING_STATUSES:
            raise _BrokenError(f"the server answered {err.code} {err.reason}")
        raise ModelError(
            f"the server answered {err.code} {err.reason} for {self._shown_url}",
            "check the address",
        )

    def _origin(self) -> _Origin | None:
        """Return where the kept part came from; None where it cannot be gone on with."""
        try:
            content = json.loads(self._note.read_bytes())
            origin = _Origin(url=content["url"], validator=content["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # no note, or one that a crash cut short: start over
        return origin if origin.url == self._shown_url else None

    def _begin(self, headers: Message) -> None:
        """Start an empty part, and note its origin if the server names the file's version."""
        self._discard()
        etag = headers.get("ETag", "")
        validator = etag if etag.startswith('"') else headers.get("Last-Modified")
        with _writing(self.part):
            if validator:
                self._note.write_text(json.dumps(asdict(_Origin(self._shown_url, validator))))
            self.part.touch()

    def _discard(self) -> None:
        with _writing(self.part):
            self._note.unlink(missing_ok=True)
            self.part.unlink(missing_ok=True)

    def finish(self, sha256: str | None) -> None:
        """Check the complete part and give it its name."""
        if sha256 is not None:
            found = file_sha256(self.part)
            if found != sha256:
                self._discard()
                raise ModelError(
                    f"{self._shown_url} has SHA-256 {found}, expected {sha256}",
                    "run the same command again, or try another --url",
                )
        with _writing(self._target):
            self.part.replace(self._target)
            self._note.unlink(missing_ok=True)


def _read(response: _Response) -> bytes:
    try:
        return response.read(_CHUNK_BYTES)
    except http.client.IncompleteRead as err:
        raise _BrokenError("the connection was closed early") from err
    except (OSError, http.client.HTTPException) as err:
        raise _BrokenError(_reason(err)) from err


def _reason(err: Exception) -> str:
    """Return why the network failed, without the number of the error."""
    cause = getattr(err, "reason", err)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _content_length(headers: Message) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _content_range(headers: Message) -> tuple[int | None, int | None]:
    """Return the first byte and the size of the file; None for what is not said."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", ""))
    if match is None:
        return None, None
    first, total = match.groups()
    return (
        int(first) if first is not None else None,
        int(total) if total.isdecimal() else None,
    )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Translate what the file system refuses."""
    try:
        yield
    except OSError as err:
        raise OutputError(
            f"cannot write {path}: {err.strerror or err}",
            "check its free space and permissions, or set TRACKD_MODELS_DIR to another directory",
        ) from err
