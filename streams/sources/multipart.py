"""MJPEG over HTTP: the pictures of a `multipart/x-mixed-replace` body, as cameras really send it.

Nothing but the JPEG itself is relied on: the boundary may be missing before the first part, be
named with or without its dashes or quotes, or differ from the header's; a part may come without
`Content-Length`, without headers, or after text that belongs to none.
"""

import re
from collections.abc import Callable

from streams.errors import SourceUnreadable

MAX_PICTURE_BYTES = 32 * 2**20
_MAX_LINE_BYTES = 8 * 1024
_MAX_SKIPPED_BYTES = 2**20  # between two parts
_MAX_OTHER_PARTS = 100  # without a picture, one after the other
_START = b"\xff\xd8\xff"
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_END = 0xD9
_JPEG_END = bytes([0xFF, _END])
_HEADER = re.compile(rb"([A-Za-z][A-Za-z0-9_-]*)[ \t]*:[ \t]*(.*)")


def boundary_of(content_type: str) -> bytes:
    """The boundary that a `Content-Type` names, without dashes around it; b"" for none."""
    found = re.search(r"boundary\s*=\s*(?:\"([^\"]*)\"?|([^;\s]+))", content_type, re.IGNORECASE)
    return b"" if found is None else (found[1] or found[2] or "").strip().strip("-").encode()


class MultipartReader:
    """Cuts JPEG pictures out of a multipart body."""

    def __init__(self, read: Callable[[int], bytes], boundary: bytes, shown: str) -> None:
        """Begin before the first part.

        Args:
            read: Returns what there is, at least one byte and at most so many; b"" at the end.
            boundary: As `boundary_of` gives it.
            shown: The address for people.
        """
        self._read = read
        self._boundary = boundary
        self._shown = shown
        self._buffer = bytearray()

    def picture(self) -> bytes | None:
        """The next JPEG, whole; None at the end of the body.

        Raises:
            SourceUnreadable: There is none within what a camera may send between two.
        """
        kind = b""
        for _ in range(_MAX_OTHER_PARTS):
            headers = self._head()
            if headers is None:
                return None
            kind = headers.get(b"content-type", b"").lower()
            length = _length(headers)
            if length is not None and length > MAX_PICTURE_BYTES:
                raise self._too_large()
            body = self._sized(length) if length else self._unsized()
            if body is None:
                return None
            start = body.find(_START)
            if kind.startswith(b"image/"):
                return body[max(0, start) :]  # a damaged one is the decoder's to count
            if start >= 0 and not kind.startswith((b"text/", b"audio/")):
                return body[start:]
        what = kind.decode("ascii", "replace")[:40]
        raise SourceUnreadable(
            f"the parts that {self._shown} sends are {what!r}, not JPEG", "ask it for MJPEG"
        )

    def _head(self) -> dict[bytes, bytes] | None:
        """The headers of the next part, up to where its body begins; None at the end."""
        headers: dict[bytes, bytes] = {}
        in_part = False
        skipped = 0
        while skipped < _MAX_SKIPPED_BYTES:
            if self._begins_picture():
                return headers
            line = self._line()
            if line is None:
                return None
            skipped += len(line) + 1
            header = _HEADER.fullmatch(line)
            if self._is_boundary(line):
                headers, in_part = {}, True
            elif header:
                headers[header[1].lower()] = header[2].strip()
            elif not line and (in_part or headers):
                return headers
        raise SourceUnreadable(
            f"no pictures in what {self._shown} sends", "it is no MJPEG stream: check the path"
        )

    def _begins_picture(self) -> bool:
        return self._fill(len(_START)) and self._buffer.startswith(_START)

    def _is_boundary(self, line: bytes) -> bool:
        if line.startswith(b"--") and not self._boundary:
            self._boundary = line.strip(b"-").strip()
        return line.startswith(b"--") or (
            bool(self._boundary) and line.strip(b"- \t") == self._boundary
        )

    def _line(self) -> bytes | None:
        """The next line without its end; None at the end of the body."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched, _MAX_LINE_BYTES)) < 0:
            if len(self._buffer) >= _MAX_LINE_BYTES:  # no line of a head: what a part left behind
                end = _MAX_LINE_BYTES - 1
                break
            searched = len(self._buffer)
            if not self._more():
                return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.rstrip(b"\r")

    def _sized(self, length: int) -> bytes | None:
        if not self._fill(length):
            return None
        if self._buffer[max(0, length - 64) : length].rstrip(b"\0\r\n ").endswith(_JPEG_END):
            return self._take(length)
        # Some count wrong: too much where a boundary is inside, too little where no end is.
        cut = self._buffer.find(self._mark(), 0, length) if self._boundary else -1
        if cut >= 0:
            return self._take(cut)
        after = length + len(b"\r\n--")
        if not self._fill(after) or re.match(rb"\r?\n|-", self._buffer[length:after]):
            return self._take(length)
        return self._unsized() if self._buffer.startswith(_START) else self._take(length)

    def _unsized(self) -> bytes | None:
        """A body whose length only the JPEG itself, or the boundary after it, gives."""
        jpeg, mark, searched = _JpegEnd(), self._mark(), 0
        while True:
            end = jpeg.find(self._buffer)
            cut = self._buffer.find(mark, searched, len(self._buffer) if end is None else end)
            if cut >= 0 and self._boundary:
                return self._take(cut)
            if end is not None:
                return self._take(end)
            if len(self._buffer) > MAX_PICTURE_BYTES:
                raise self._too_large()
            searched = max(0, len(self._buffer) - len(mark))
            if not self._more():
                return None

    def _mark(self) -> bytes:
        return b"\n--" + self._boundary

    def _too_large(self) -> SourceUnreadable:
        return SourceUnreadable(
            f"{self._shown} sends a picture of more than {MAX_PICTURE_BYTES >> 20} MiB",
            "check that it is a camera's MJPEG stream",
        )

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _fill(self, size: int) -> bool:
        while len(self._buffer) < size:
            if not self._more():
                return False
        return True

    def _more(self) -> bool:
        data = self._read(1 << 16)
        self._buffer += data
        return bool(data)


def _length(headers: dict[bytes, bytes]) -> int | None:
    text = headers.get(b"content-length", b"")
    return int(text) if re.fullmatch(rb"\d{1,18}", text) else None


class _JpegEnd:
    """Finds where a JPEG ends, as more and more of it comes: by its markers (ITU-T T.81, B.1).

    A preview inside its metadata ends with the same marker, so segments are stepped over.
    """

    def __init__(self) -> None:
        self._at: int | None = None  # where the next marker is looked for

    def find(self, data: bytearray) -> int | None:
        """Index after the end; None where it has not come yet."""
        if self._at is None:
            start = data.find(_START)
            if start < 0:
                return None
            self._at = start + 2
        while True:
            at = data.find(b"\xff", self._at)
            if at < 0 or at + 1 >= len(data):
                self._at = max(self._at, len(data)) if at < 0 else at
                return None
            marker = data[at + 1]
            if marker == _END:
                return at + 2
            if marker == 0xFF:
                self._at = at + 1
            elif marker == 0 or marker in _STANDALONE:
                self._at = at + 2
            elif at + 3 >= len(data):
                self._at = at
                return None
            else:
                self._at = at + 2 + int.from_bytes(data[at + 2 : at + 4])
